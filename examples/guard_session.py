"""Hide what must not leave, let someone answer, put it back: in one text and in a stream."""

from trustplane.guard.text import TextGuard

guard = TextGuard(languages=("en", "zh"))
session = guard.session()

prompt = "My name is Alice Johnson, alice@example.com. 我叫张伟，手机13800138000。"
hidden = session.hide(prompt)
print("sent:    ", hidden)
print("places:  ", dict(session.counts))

reply = f"Noted: {hidden}"
print("restored:", session.restore(reply))

stream = session.stream()
pieces = [stream.feed(reply[i : i + 3]) for i in range(0, len(reply), 3)]
assert "".join(pieces) + stream.close() == session.restore(reply)
assert session.restore(hidden) == prompt

print("masked:  ", guard.mask(prompt))
