// What a frame plan asks for, frame by frame, of a device that shows one frame while it computes for another. Pure.
//
// An exit that a frame was to be lifted by, and that was not begun with it, is begun with the first frame that was to
// carry its gain. Where nothing could be carried the plan's exit is begun anew. A gain that comes late is carried for as
// many frames as the plan has it carried: those that stayed plain meanwhile are made up for behind them.

import { CARRY, FIRST_EXIT, NOTHING } from "./plan_file.js";

const OWED_MAX = 24; // frames

export class Follower {
  #begun = -1; // the frame whose exit was begun last
  #owed = 0; // frames that stayed plain although they were to be lifted

  /** actions: of each frame of the title. */
  constructor(actions) {
    this.actions = actions;
  }

  /** {action, exit} of a frame: what is to be done for it, and the exit to begin with it, counted from 0; -1 for none. */
  asked(number) {
    const planned = this.actions[number] ?? NOTHING;
    const action = planned === NOTHING && this.#owed ? CARRY : planned;
    const anchor = this.#anchorOf(number);
    const exit = anchor < 0 || anchor === this.#begun ? -1 : this.actions[anchor] - FIRST_EXIT;
    return { action, exit };
  }

  /**
   * What came of a frame: whether its exit was `begun`; `done`, the action that it was shown by, or -1 where it was not
   * shown; `idle`, that nothing is being computed. Returns {enhanced, lowered}: a frame that the plan leaves plain counts as enhanced, one that it would have lifted does
   * not; lowered are those made with less than was planned.
   */
  heard(number, { begun = false, done = -1, idle = false }) {
    const action = this.actions[number] ?? NOTHING;
    if (begun) this.#begun = this.#anchorOf(number);
    else if (idle && done === NOTHING) this.#begun = -1; // a cut, or a leap of the viewer
    if (action > NOTHING && done <= NOTHING) this.#owed = Math.min(OWED_MAX, this.#owed + 1);
    else if (action === NOTHING && this.#owed) this.#owed--;
    return { enhanced: done > NOTHING || (action === NOTHING && done >= action), lowered: done < action };
  }

  /** The frame whose gain a frame is to show; -1 for none. */
  #anchorOf(number) {
    let at = number;
    while (this.actions[at] === CARRY) at--;
    return this.actions[at] >= FIRST_EXIT ? at : -1;
  }
}
