/** Until all that could follow has followed, but for what waits for clocks, sockets and files. */
export const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
