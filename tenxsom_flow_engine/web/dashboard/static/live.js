// Keeps a page as it would be if it were loaded anew, and tells when nobody answers. Everything works without it.
"use strict";

(() => {
  const PERIOD = 3000; // ms between two looks
  const LONGEST = 30000; // … while nobody answers
  const PATIENCE = 15000; // ms for an answer

  const written = new Map(); // id → what the server wrote last for a live element
  const offline = document.getElementById("offline");
  let failures = 0;
  let answeredAt = Date.now();
  let timer;

  // Times are the server's in UTC; people live elsewhere.
  function localize(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const exact = time.dataset.exact;
      const short = exact === "clock" || at.toDateString() === new Date().toDateString();
      const clock = { hour: "2-digit", minute: "2-digit", ...(exact === "second" && { second: "2-digit" }) };
      time.textContent = at.toLocaleString([], short ? clock : { day: "numeric", month: "short", ...clock });
      time.title = time.dateTime;
    }
  }

  // Puts the new version of a live element in its place; what a person has in hand is not taken away.
  function renew(old, fresh) {
    const html = fresh.outerHTML;
    const selection = document.getSelection();
    if (html === written.get(old.id) || (!selection.isCollapsed && selection.intersectsNode(old))) return;
    written.set(old.id, html);
    const kept = old.contains(document.activeElement) ? document.activeElement.id : "";
    for (const box of old.querySelectorAll("input[type=checkbox]")) {
      const same = box.id && fresh.querySelector(`#${CSS.escape(box.id)}`);
      if (same) same.checked = box.checked;
    }
    for (const details of old.querySelectorAll("details[id]")) {
      const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = details.open;
    }
    localize(fresh);
    old.replaceWith(fresh);
    if (kept) document.getElementById(kept)?.focus({ preventScroll: true });
    fresh.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
  }

  async function look() {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.redirected) {
      location.reload(); // the session is over
      return;
    }
    if (!answer.ok) throw new Error(`the worker answered ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (now) renew(old, document.adoptNode(now));
      else old.remove();
    }
    // What the page shows now for the first time, such as a message of an empty list.
    for (const now of fresh.querySelectorAll("[data-live]")) {
      if (!document.getElementById(now.id)) { location.reload(); return; }
    }
  }

  function tell(text) {
    offline.hidden = !text;
    if (offline.textContent !== text) offline.textContent = text;
  }

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      await look();
      failures = 0;
      answeredAt = Date.now();
      tell("");
      for (const mark of document.querySelectorAll("[data-refreshed]")) {
        mark.textContent = `As of ${new Date().toLocaleTimeString()}`;
      }
    } catch {
      failures += 1;
      if (failures > 1) {
        const since = Math.round((Date.now() - answeredAt) / 1000);
        tell(`The worker does not answer; this is how things were ${since} s ago. Trying again.`);
      }
    }
    timer = setTimeout(refresh, Math.min(PERIOD * 1.5 ** failures, LONGEST));
  }

  // A form that is sent while the worker restarts would be lost with the page; one that is sent twice answers twice.
  async function send(event) {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sure) {
      delete form.dataset.sure;
      return;
    }
    event.preventDefault();
    if (form.dataset.sending) return;
    form.dataset.sending = "yes";
    const button = event.submitter;
    try {
      const health = await fetch(document.body.dataset.health, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!health.ok) throw new Error();
    } catch {
      delete form.dataset.sending;
      tell("The worker does not answer, so nothing was sent. Try again in a moment.");
      return;
    }
    form.dataset.sure = "yes";
    form.requestSubmit(button);
    setTimeout(() => delete form.dataset.sending, 5000);
  }

  // The cookie does not come along with a link from another site, but it does from here.
  async function enter(entrance) {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.redirected) location.replace(entrance.dataset.entrance);
  }

  for (const live of document.querySelectorAll("[data-live]")) written.set(live.id, live.outerHTML);
  localize(document);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const mark of document.querySelectorAll("[data-zone]")) mark.textContent = `Times are those of ${zone}`;
  document.addEventListener("submit", send);
  const entrance = document.querySelector("[data-entrance]");
  if (entrance) enter(entrance).catch(() => {});
  if (written.size) {
    timer = setTimeout(refresh, PERIOD);
    document.addEventListener("visibilitychange", () => document.hidden || refresh());
  }
})();
