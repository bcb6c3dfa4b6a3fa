// Keeps a page as it would be if it were loaded anew, and tells when nobody answers. Everything works without it.
"use strict";

(() => {
  const PERIOD = 3000; // ms between two looks
  const MAX_PERIOD_MS = 30000; // … while nobody answers
  const TIMEOUT_MS = 15000; // ms for an answer

  const written = new Map(); // id → what the server wrote last for a live element
  const offline = document.getElementById("offline");
  let failures = 0;
  let answeredAt = new Date();
  let localizedOn = "";
  let looking = false;
  let sending = null; // the form that is on its way
  let timer;

  // Messages that are told once are not for requests that nobody sees.
  const ask = (url) =>
    fetch(url, { cache: "no-store", headers: { "X-Live": "yes" }, signal: AbortSignal.timeout(TIMEOUT_MS) });

  // Times are the server's in UTC; people live elsewhere.
  function localize(root) {
    const today = new Date().toDateString();
    if (root === document) localizedOn = today; // a part that is renewed says nothing of the others
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const exact = time.dataset.exact;
      const short = exact === "clock" || at.toDateString() === today;
      const clock = { hour: "2-digit", minute: "2-digit", ...(exact === "second" && { second: "2-digit" }) };
      time.textContent = at.toLocaleString([], short ? clock : { day: "numeric", month: "short", ...clock });
      time.title = time.dateTime;
    }
  }

  // The element of the new version that is the one of the old: of the same id, else a link or summary alike in place.
  function same(one, old, fresh) {
    if (one.id) return fresh.querySelector(`#${CSS.escape(one.id)}`);
    const alike = (other) =>
      other.getAttribute("href") === one.getAttribute("href") && other.parentElement.id === one.parentElement.id;
    const before = [...old.querySelectorAll(one.localName)].filter(alike);
    return [...fresh.querySelectorAll(one.localName)].filter(alike)[before.indexOf(one)];
  }

  // Puts the new version of a live element in its place; what a person has in hand is not taken away.
  function renew(old, fresh) {
    const html = fresh.outerHTML;
    const selection = document.getSelection();
    if (html === written.get(old.id) || (!selection.isCollapsed && selection.intersectsNode(old))) return;
    written.set(old.id, html);
    const held = old.contains(document.activeElement) && same(document.activeElement, old, fresh);
    for (const box of old.querySelectorAll("input[type=checkbox][id]")) {
      const now = same(box, old, fresh);
      if (now) now.checked = box.checked;
    }
    for (const details of old.querySelectorAll("details[id]")) {
      const now = same(details, old, fresh);
      if (now) now.open = details.open;
    }
    localize(fresh);
    old.replaceWith(fresh);
    if (held) held.focus({ preventScroll: true });
    if (fresh.dataset.news !== old.dataset.news) say(fresh.querySelector(".headline").textContent);
  }

  // To those who hear the page: what is news, and not each number that changes.
  function say(text) {
    document.getElementById("said").textContent = text;
  }

  // What is written in a field would be lost with the page, and so would a form that is on its way.
  const inHand = () => sending || document.activeElement?.matches("input:not([type=checkbox]), select, textarea");

  async function look() {
    const answer = await ask(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const gone = answer.redirected || answer.status === 404; // the session is over, or the job forgotten
    // A proxy before a worker that restarts answers with pages of its own.
    if (!(answer.ok || gone) || !fresh.getElementById("said")) throw new Error(`The worker answers with an error (${answer.status})`);
    if (sending) return;
    // What the page shows now for the first time, such as the message of an empty list, has no place in it yet.
    if (gone || [...fresh.querySelectorAll("[data-live]")].some((now) => !document.getElementById(now.id))) {
      if (!inHand()) location.reload();
      return;
    }
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      if (now) renew(old, document.adoptNode(now));
      else old.remove();
    }
    for (const mark of document.querySelectorAll("[data-refreshed]")) {
      mark.textContent = `As of ${new Date().toLocaleTimeString()}`;
    }
  }

  function tell(text) {
    offline.hidden = !text;
    if (offline.textContent !== text) offline.textContent = text;
  }

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden || looking) return;
    looking = true;
    try {
      await look();
      failures = 0;
      answeredAt = new Date();
      tell("");
    } catch (error) {
      failures += 1;
      const why = error.name === "Error" ? error.message : "The worker does not answer";
      if (failures > 1) tell(`${why}; this is how things were at ${answeredAt.toLocaleTimeString()}. Trying again.`);
    }
    looking = false;
    // Past midnight a time of today is one of yesterday.
    if (localizedOn !== new Date().toDateString()) localize(document);
    timer = setTimeout(refresh, Math.min(PERIOD * 1.5 ** failures, MAX_PERIOD_MS));
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
    if (sending) return;
    sending = form;
    const button = event.submitter;
    try {
      const health = await ask(document.body.dataset.health);
      if (!health.ok) throw new Error();
    } catch {
      sending = null;
      tell("The worker does not answer, so nothing was sent. Try again in a moment.");
      return;
    }
    form.dataset.sure = "yes";
    form.requestSubmit(button);
    setTimeout(() => { sending = null; }, 5000);
  }

  // The cookie does not come along with a link from another site, but it does from here.
  async function enter(entrance) {
    const answer = await ask(location.href);
    if (answer.redirected) location.replace(entrance.dataset.entrance);
  }

  for (const live of document.querySelectorAll("[data-live]")) written.set(live.id, live.outerHTML);
  localize(document);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const days = zone === "UTC" ? "" : "; days begin at midnight in UTC";
  for (const mark of document.querySelectorAll("[data-zone]")) mark.textContent = `Times are those of ${zone}${days}`;
  document.addEventListener("submit", send);
  const entrance = document.querySelector("[data-entrance]");
  if (entrance) enter(entrance).catch(() => {});
  // A page that is gone back to comes as it was left.
  window.addEventListener("pageshow", (event) => { if (event.persisted) sending = null; });
  if (written.size) {
    timer = setTimeout(refresh, PERIOD);
    document.addEventListener("visibilitychange", () => document.hidden || refresh());
  }
})();
