"""What the driver of our browser tests must notice, so that a quiet page is one that works."""

from __future__ import annotations

from aiohttp import web
from browser import chromium
from served import listening

PAGE = """<!doctype html><title>noisy</title><video id=v></video>
<script>
console.log("hello"); console.error("a console error");
fetch("/missing").then(() => document.title = "asked");
document.title = v.canPlayType('video/mp4; codecs="avc1.64001f, mp4a.40.2"');
setTimeout(() => { throw new Error("an uncaught one") });
</script>"""


async def test_a_noisy_page_is_heard_and_seen():
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    async with listening(app) as url, chromium() as browser:
        watched = await browser.open(url)
        await watched.tab.wait_for_function("document.title === 'asked'")
        picture = await watched.screenshot("noisy")
    assert "log: hello" in watched.console
    assert any("a console error" in line for line in watched.complaints)
    assert any("an uncaught one" in line for line in watched.complaints)
    assert f"404 {url}missing" in watched.refused
    assert picture.stat().st_size > 0


async def test_chromium_plays_what_we_encode_and_knows_webgpu_without_a_gpu():
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>x</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    async with listening(app) as url, chromium(software_gpu=True) as browser:
        watched = await browser.open(url)
        kinds = ['video/mp4; codecs="avc3.64001f"', 'video/mp4; codecs="avc1.64001f"', 'audio/mp4; codecs="mp4a.40.2"']
        assert (
            await watched.tab.evaluate("kinds => kinds.map(k => MediaSource.isTypeSupported(k))", kinds) == [True] * 3
        )
        assert await watched.tab.evaluate("navigator.gpu.requestAdapter().then(adapter => adapter !== null)")
        assert await watched.tab.evaluate("document.createElement('canvas').getContext('webgl2') !== null")
