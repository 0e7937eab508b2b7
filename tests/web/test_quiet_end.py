"""The page's server, stopped by who has no patience."""

from tests import tiny

# As two signals that come in one turn of the server's loop, of a tenth of a second.
CODE = """
import contextlib, signal, threading, time
from starlette.applications import Starlette
from lpd_jax.web.server import listen, server_of

@contextlib.asynccontextmanager
async def lifespan(app):
    yield

def stop_twice():
    while not server.started:
        time.sleep(0.01)
    for _ in range(2):
        server.handle_exit(signal.SIGINT, None)

server = server_of(Starlette(lifespan=lifespan))
threading.Thread(target=stop_twice).start()
with listen("127.0.0.1", 0) as place:
    try:
        server.run(sockets=[place])
    except KeyboardInterrupt:
        print("stopped")
"""


def test_a_second_ctrl_c_is_no_traceback(tmp_path):
    result = tiny.run_python("-c", CODE, cwd=tmp_path, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "stopped\n", "")
