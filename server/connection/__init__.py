"""Connections: accepted, bounded, and answered on a fast path where a playing viewer asks.

Two kinds of request make up nearly all of a viewer's: the next decided segment, and a media file of a title. Both can
be answered in far less processor time than a general HTTP server takes for them. So `Connection` looks at what comes.
A request of these two kinds that is whole, plainly asked and alone goes to `FastPath`. All else goes to aiohttp's
handler, and so does a request whose fast answer fails before its first byte. Both ways ask the same session service and
the same title cache; tests hold them to equal answers. `fast_path = false` (`toprung serve --no-fast-path`) sends
everything to aiohttp. Then a proxy that can send files itself (X-Accel-Redirect) gets their bytes from here instead.

What each part buys, in µs of the server's processor time for one decided segment of 200 kB (last line: a 2 MB file).
32 viewers ask as in `toprung bench serve`; servers with and without the part take turns in one run, 30 times 0.1 s;
lower octiles. The machine had two virtual cores and other work to do, so that figures of one line compare with each
other only, and differences under 3 % tell nothing.

=====================================================  ====  =======  ========
part                                                   with  without  it saves
=====================================================  ====  =======  ========
the whole: not going through aiohttp                    363      581      38 %
deciding together (`server.concurrency.batcher`)        363      553      34 %
coroutines in no task (`eager_coroutine`)               352      385       9 %
sendfile without waiting for a turn of the loop         314      475      34 %
=====================================================  ====  =======  ========

Sending the bodies of one turn in a batch, going on to it within the turn, and a read buffer that all connections share
saved nothing that could be measured then, and are not here. Head and body in one sendmsg past asyncio's buffer save
2–4 %. Coroutines in no task saved 3 to 10 % in four such runs.

It leans on these private names; `tests/server/connection/test_private_names.py` fails with a sentence when one of them
is gone:

* `aiohttp.web.RequestHandler._waiter`, set while aiohttp waits for a request (`AiohttpHandler.is_idle`). For its sake
  pyproject.toml bounds aiohttp's version.
* `_asyncio_future_blocking`, by which an awaited future tells the driver of a coroutine that it is waited for
  (`EagerCoroutine`), and by which a task waits for a `BatchEntry` as for a future.

It also writes into the socket below asyncio's transport (`SocketWriter`). That is sound only while the transport's own
buffer is empty, which `Connection` checks before each request.
"""
