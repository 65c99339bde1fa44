// Follows what happens: the table and the list of events, or one log. Without this the page is read by refreshing it.
"use strict";

const programs = document.getElementById("programs");
if (programs) {
  const events = document.getElementById("events");
  const list = events.querySelector("ol");
  const summary = document.getElementById("summary");
  let waiting = 0;
  const refresh = async () => {
    waiting = 0;
    const answer = await fetch("/table");
    if (!answer.ok) return;
    // Whoever moves through the table by keyboard keeps their place.
    const label = programs.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    programs.innerHTML = await answer.text();
    if (label) [...programs.querySelectorAll("[aria-label]")].find((e) => e.getAttribute("aria-label") === label)?.focus();
    const running = programs.querySelectorAll(".running").length;
    summary.textContent = `${running} of ${programs.rows.length} running`;
  };
  const later = () => { waiting ||= setTimeout(refresh, 100); };
  const source = new EventSource("/events");
  const told = (event) => {
    const { time, kind, data } = JSON.parse(event.data);
    const line = document.createElement("li");
    const about = kind === "program.state" ? `${data.name} ${data.from} → ${data.to} (${data.reason})` : kind;
    line.textContent = `${new Date(time).toLocaleTimeString()} ${about}`;
    list.prepend(line);
    while (list.children.length > 20) list.lastChild.remove();
    events.hidden = false;
    later();
  };
  for (const kind of ["program.state", "program.removed", "phase", "reload", "gap"]) source.addEventListener(kind, told);
  source.onopen = later;
  setInterval(() => { if (!document.hidden) later(); }, 5000); // uptimes
}

const log = document.getElementById("log");
if (log) {
  log.scrollTop = log.scrollHeight;
  const label = document.getElementById("follow");
  const box = label.querySelector("input");
  let stop = null;
  const follow = async () => {
    stop = new AbortController();
    try {
      const answer = await fetch(log.dataset.follow, { signal: stop.signal });
      if (!answer.ok) return;
      log.textContent = "";
      const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await pieces.read();
        if (done) return;
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
        log.append(value);
        while (log.childNodes.length > 2000) log.firstChild.remove();
        if (atEnd) log.scrollTop = log.scrollHeight;
      }
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      box.checked = false;
    }
  };
  label.hidden = false;
  box.addEventListener("change", () => { if (box.checked) follow(); else stop?.abort(); });
}
