"""For gunicorn and uWSGI."""

from urllib.parse import parse_qs

from myapp.db import answer


def application(environ, start_response):
    try:
        status, body = "200 OK", answer(int(parse_qs(environ["QUERY_STRING"])["number"][0]))
    except Exception as error:
        status, body = "500 Internal Server Error", str(error)
    start_response(status, [("Content-Type", "text/plain")])
    return [body.encode()]
