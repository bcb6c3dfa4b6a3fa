// Refreshes a page while it is open, and shows when the worker does not answer. The pages also work without it.
"use strict";

(() => {
  const PERIOD = 3000; // ms between two refreshes
  const MAX_PERIOD_MS = 30000; // … while the worker does not answer
  const TIMEOUT_MS = 15000; // ms for a response

  const written = new Map(); // id → the server's latest HTML of a live element
  const offline = document.getElementById("offline");
  let failures = 0;
  let answeredAt = new Date();
  let localizedOn = "";
  let refreshing = false;
  let sending = null; // the form that is being submitted
  let timer;

  // The header keeps the server from putting flashed messages, which are shown once, into a page that is not displayed.
  const ask = (url) =>
    fetch(url, { cache: "no-store", headers: { "X-Live": "yes" }, signal: AbortSignal.timeout(TIMEOUT_MS) });

  // The server writes times in UTC; show them in the browser's zone.
  function localize(root) {
    const today = new Date().toDateString();
    if (root === document) localizedOn = today; // not for a part of the page
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const exact = time.dataset.exact;
      const short = exact === "clock" || at.toDateString() === today;
      const clock = { hour: "2-digit", minute: "2-digit", ...(exact === "second" && { second: "2-digit" }) };
      time.textContent = at.toLocaleString([], short ? clock : { day: "numeric", month: "short", ...clock });
      time.title = time.dateTime;
    }
  }

  // The counterpart of an element in the new version: the same id, or else the same link or summary by position.
  function same(one, current, fresh) {
    if (one.id) return fresh.querySelector(`#${CSS.escape(one.id)}`);
    const alike = (other) =>
      other.getAttribute("href") === one.getAttribute("href") && other.parentElement.id === one.parentElement.id;
    const before = [...current.querySelectorAll(one.localName)].filter(alike);
    return [...fresh.querySelectorAll(one.localName)].filter(alike)[before.indexOf(one)];
  }

  // Replaces a live element by its new version; keeps the selection, the focus, checked boxes and open details.
  function renew(current, fresh) {
    const html = fresh.outerHTML;
    const selection = document.getSelection();
    if (html === written.get(current.id) || (!selection.isCollapsed && selection.intersectsNode(current))) return;
    written.set(current.id, html);
    const held = current.contains(document.activeElement) && same(document.activeElement, current, fresh);
    for (const box of current.querySelectorAll("input[type=checkbox][id]")) {
      const now = same(box, current, fresh);
      if (now) now.checked = box.checked;
    }
    for (const details of current.querySelectorAll("details[id]")) {
      const now = same(details, current, fresh);
      if (now) now.open = details.open;
    }
    localize(fresh);
    current.replaceWith(fresh);
    if (held) held.focus({ preventScroll: true });
    if (fresh.dataset.news !== current.dataset.news) say(fresh.querySelector(".headline").textContent);
  }

  // Announces changed verdicts to screen readers, but not every number.
  function say(text) {
    document.getElementById("said").textContent = text;
  }

  // A reload would lose the text in a field, or a form that is being submitted.
  const busy = () => sending || document.activeElement?.matches("input:not([type=checkbox]), select, textarea");

  async function update() {
    const answer = await ask(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const gone = answer.redirected || answer.status === 404; // the session has expired, or the record was removed
    // While the worker restarts, a proxy in front of it answers with its own pages.
    if (!(answer.ok || gone) || !fresh.getElementById("said")) throw new Error(`The worker answers with an error (${answer.status})`);
    if (sending) return;
    // A live element that is new, such as the message of an empty list, has no place in the page yet: reload.
    if (gone || [...fresh.querySelectorAll("[data-live]")].some((now) => !document.getElementById(now.id))) {
      if (!busy()) location.reload();
      return;
    }
    for (const current of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(current.id);
      if (now) renew(current, document.adoptNode(now));
      else current.remove();
    }
    for (const mark of document.querySelectorAll("[data-refreshed]")) {
      mark.textContent = `As of ${new Date().toLocaleTimeString()}`;
    }
  }

  function showOffline(text) {
    offline.hidden = !text;
    if (offline.textContent !== text) offline.textContent = text;
  }

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden || refreshing) return;
    refreshing = true;
    try {
      await update();
      failures = 0;
      answeredAt = new Date();
      showOffline("");
    } catch (error) {
      failures += 1;
      const why = error.name === "Error" ? error.message : "The worker does not answer";
      if (failures > 1) showOffline(`${why}. This page is from ${answeredAt.toLocaleTimeString()}. Trying again.`);
    }
    refreshing = false;
    // After midnight, times without a day need one.
    if (localizedOn !== new Date().toDateString()) localize(document);
    timer = setTimeout(refresh, Math.min(PERIOD * 1.5 ** failures, MAX_PERIOD_MS));
  }

  // Check that the worker answers before submitting a form, which would be lost otherwise; ignore a second submit.
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
      showOffline("The worker does not answer, so nothing was sent. Try again in a moment.");
      return;
    }
    form.dataset.sure = "yes";
    form.requestSubmit(button);
    setTimeout(() => { sending = null; }, 5000);
  }

  // Browsers omit the SameSite cookie on a link from another site, but send it with this request: skip the login then.
  async function enter(entrance) {
    const answer = await ask(location.href);
    if (answer.redirected) location.replace(entrance.dataset.entrance);
  }

  for (const live of document.querySelectorAll("[data-live]")) written.set(live.id, live.outerHTML);
  localize(document);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const days = zone === "UTC" ? "" : "; days begin at midnight UTC";
  for (const mark of document.querySelectorAll("[data-zone]")) mark.textContent = `All times ${zone}${days}`;
  document.addEventListener("submit", send);
  const entrance = document.querySelector("[data-entrance]");
  if (entrance) enter(entrance).catch(() => {});
  // A page from the back/forward cache keeps the state of its last use.
  window.addEventListener("pageshow", (event) => { if (event.persisted) sending = null; });
  if (written.size) {
    timer = setTimeout(refresh, PERIOD);
    document.addEventListener("visibilitychange", () => document.hidden || refresh());
  }
})();
