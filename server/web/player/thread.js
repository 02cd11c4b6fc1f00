// The page's end of the worker: each task is answered by a promise.

export class Thread {
  #next = 0;
  #waiting = new Map();

  /** `lost` hears when the device goes away, or the worker breaks. */
  constructor(lost = () => {}) {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => (data.lost ? lost(data.lost) : this.#answer(data));
    this.worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || "the worker broke"));
      this.#waiting.clear();
      lost("worker");
    };
  }

  ask(task, values = {}, transfer = []) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, task, ...values }, transfer);
    });
  }

  #answer({ id, result, error }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  }
}
