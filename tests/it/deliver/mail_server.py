"""A mail server with AUTH. Arguments: a folder with cert.pem and key.pem, how connections are protected
(starttls, tls, none; without protection there is no AUTH), then what to do with the next messages (accept,
greylist, refuse, hang); later ones are accepted. The word flaky-30 lets 30 % of all later messages fail in
some way. Prints its port, writes accepted
messages into the folder, and ends with its standard input."""

import asyncio
import email
import email.policy
import pathlib
import random
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, folder, answers):
        self.folder, self.count, self.dice = folder, 0, random.Random(1)
        self.answers = [answer for answer in answers if not answer.startswith("flaky-")]
        self.flaky = max([int(a[6:]) for a in answers if a.startswith("flaky-")], default=0)

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.pop(0) if self.answers else "accept"
        if self.dice.randrange(100) < self.flaky:
            answer = self.dice.choice(["greylist", "greylist", "greylist", "reset", "reset", "hang", "garbage", "lost"])
        if answer == "greylist":
            return "451 4.7.1 try again later"
        if answer == "refuse":
            return "550 5.1.1 nobody here"
        if answer == "hang":
            await asyncio.sleep(3600)
        if answer == "reset":
            server.transport.abort()
            return "451 gone"
        if answer == "garbage":
            return "\x00 what is mail?"
        self.count += 1
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        lines = [f"{name}: {value}" for name, value in message.items()]
        for part in message.walk():
            if not part.is_multipart():
                lines += ["", part.get_content_type(), part.get_content()]
        (self.folder / f"{self.count:04}.eml").write_text("\n".join(lines))
        if answer == "lost":
            server.transport.abort()
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"monitor" and data.password == b"secret of SMTP"
    return AuthResult(success=good, handled=good)


async def main():
    folder = pathlib.Path(sys.argv[1])
    mode, handler = sys.argv[2], Handler(folder, sys.argv[3:])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    loop = asyncio.get_running_loop()
    serve = lambda: SMTP(
        handler,
        hostname="localhost",
        tls_context=tls if mode == "starttls" else None,
        require_starttls=mode == "starttls",
        auth_required=mode != "none",
        # With TLS from the first byte the protocol below does not know that it is protected.
        auth_require_tls=mode == "starttls",
        authenticator=authenticate,
        loop=loop,
    )
    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=tls if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
