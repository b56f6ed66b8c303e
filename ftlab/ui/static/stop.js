/* The Stop button: asks the server by a route of its own, which is heard while the queue is full. Returns what the page
   shows below the status card; nothing where the run, audit or export was asked to stop, as the card itself then says so. */
async (marks) => {
  const show = (text) => {
    const line = document.createElement("div");
    line.className = "ftlab-trouble";
    line.setAttribute("role", "alert");
    line.textContent = text;
    return text ? line.outerHTML : "";
  };
  try {
    // The page may lie below a folder of the site.
    const folder = new URL(window.gradio_config?.root ?? "/", location.href).pathname.replace(/\/$/, "");
    const response = await fetch(folder + STOP_PATH, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      // The label that the button had when it was pressed counts, not the one that it would have by now.
      body: JSON.stringify({ run: marks?.run ?? "", by_force: marks?.stop === "end", job: marks?.job }),
      signal: AbortSignal.timeout(30000),
    });
    const text = await response.text();
    try {
      return show(JSON.parse(text).detail);
    } catch {
      return show(text);
    }
  } catch {
    return show(UNREACHABLE_TEXT);
  }
}
