"""The same two routes in several frameworks, each under its own name: /hello, and /echo that gives a posted body back. And a
WebSocket that gives back what it hears."""

import io


def with_falcon():
    import falcon

    class Hello:
        def on_get(self, request, response):
            response.content_type = falcon.MEDIA_TEXT
            response.text = "hello from falcon"

    class Echo:
        def on_post(self, request, response):
            response.data = request.bounded_stream.read()

    app = falcon.App()
    app.add_route("/hello", Hello())
    app.add_route("/echo", Echo())
    return app


def with_bottle():
    import bottle

    app = bottle.Bottle()
    app.get("/hello", callback=lambda: "hello from bottle")
    app.post("/echo", callback=lambda: bottle.request.body.read())
    return app


def with_pyramid():
    from pyramid.config import Configurator
    from pyramid.response import Response

    with Configurator() as config:
        config.add_route("hello", "/hello")
        config.add_route("echo", "/echo")
        config.add_view(lambda request: Response("hello from pyramid"), route_name="hello", request_method="GET")
        config.add_view(
            lambda request: Response(app_iter=iter([request.body_file.read()])), route_name="echo", request_method="POST"
        )
        return config.make_wsgi_app()


def with_flask():
    from flask import Flask, request, send_file
    from flask_sock import Sock

    app = Flask(__name__)
    sock = Sock(app)
    app.get("/hello", endpoint="hello")(lambda: "hello from flask")
    app.post("/echo", endpoint="echo")(lambda: send_file(io.BytesIO(request.get_data()), "application/octet-stream"))

    @sock.route("/socket")
    def socket(ws):
        while True:
            ws.send(ws.receive().upper())

    return app
