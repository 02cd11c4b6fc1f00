// Where the server is: pages and their requests stay below the path under which a proxy shows it.

const root = new URL("../../", import.meta.url);

/** The URL of a path of the server, given without a slash before it. */
export const at = (path) => new URL(path, root).href;
