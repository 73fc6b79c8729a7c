namespace server
cable here c0 fd00:1::2/64 server s0 fd00:1::1/64
program server <<'P'
import asyncio, socket

async def echo(reader, writer):
    while data := await reader.read(1024):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("fd00:1::1", 443))
    listener.listen(8)
    print("ready")
    listener.setblocking(False)
    tasks = set()
    loop = asyncio.get_running_loop()
    while True:  # some at a time, with pauses, so that a burst overflows the queue
        client, _ = await loop.sock_accept(listener)
        reader, writer = await asyncio.open_connection(sock=client)
        tasks.add(asyncio.create_task(echo(reader, writer)))
        await asyncio.sleep(0.005)

asyncio.run(main())
P
