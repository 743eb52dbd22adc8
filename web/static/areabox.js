// Two comforts: times as this place reads them, and parts of a page that follow what happens. Without it all is there.
"use strict";

const times = (root) => {
  const day = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const clock = { hour: "2-digit", minute: "2-digit" };
    const more = at.toDateString() === day ? { second: "2-digit" } : { day: "numeric", month: "short" };
    time.textContent = at.toLocaleString(undefined, { ...clock, ...more });
    time.title = at.toLocaleString();
  }
};

const follow = (live) => {
  let due = 0;
  const refresh = async () => {
    due = 0;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const fresh = page.querySelector(`[data-part="${part.dataset.part}"]`);
      const open = new Set([...part.querySelectorAll("details[open]")].map((box) => box.id));
      if (!fresh || part.contains(document.activeElement)) continue;
      for (const box of fresh.querySelectorAll("details")) box.open ||= open.has(box.id);
      part.replaceWith(fresh);
      times(fresh);
    }
  };
  const source = new EventSource(`/api/v1/stream?topics=${live.dataset.live}&after=${live.dataset.since}`);
  const changed = (event) => {
    const only = live.dataset.run;
    const body = JSON.parse(event.data);
    if (body.topic === "bye") return;
    if (only && ![body.id, body.run].includes(only)) return;
    if (!due) due = setTimeout(refresh, 300);
  };
  for (const topic of [...live.dataset.live.split(","), "resync"]) source.addEventListener(topic, changed);
  addEventListener("pagehide", () => source.close());
};

times(document);
const live = document.querySelector("[data-live]");
if (live) follow(live);
