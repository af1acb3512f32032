// What a page does beyond HTML: it follows the queue, travels in time without leaving, shows what a
// job goes on to print, and draws. Without this, every page is whole and every form works.

import { charts, redraw } from "./charts.js";
import { morph } from "./morph.js";

const STREAM = "/api/v1/events";
const AFTER = "queuectl-after";
const APART_MS = 1000; // between two looks, however much happens
const IDLE_MS = 15000; // until times are told anew though nothing happens
const RETRY_MS = 2000;
const SOON_MS = 250;
const OUTPUT_MS = 400;
const OUTPUT_CHARACTERS_MAX = 1 << 20;

const element = (id) => document.getElementById(id);
const frame = () => element("frame").dataset;
const isPast = () => frame().past === "1";
const follows = () => element("main").dataset.follow !== "none";

let heard = Number(frame().offset);
let shown = heard;
let looked = performance.now();
let isLooking = false;
let isPaused = false;
let timer = 0;
let source = null;
let refused = 0;

// ---- showing another state of the same page

function address() {
  const url = new URL(location.href);
  for (const name of ["done", "count"]) url.searchParams.delete(name);
  return url.pathname + url.search;
}

async function look(path) {
  const headers = { accept: "text/html", [AFTER]: String(isPast() ? 0 : heard) };
  const answer = await fetch(path, { headers });
  if (new URL(answer.url).pathname === "/login") location.assign(answer.url);
  if (answer.status >= 500 && answer.status !== 503) throw new Error(answer.statusText);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = page.getElementById("main");
  if (!main) throw new Error("that is no page");
  document.title = page.title;
  morph(element("frame"), page.getElementById("frame"));
  morph(element("main"), main);
  shown = Number(frame().offset);
  setUp();
}

async function refresh() {
  if (isLooking || isPaused || isPast()) return;
  clearTimeout(timer);
  isLooking = true;
  looked = performance.now();
  try {
    await look(address());
  } catch {
    lose();
  } finally {
    isLooking = false;
  }
  if (heard > shown && frame().damaged === "0") soon();
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, Math.max(0, looked + APART_MS - performance.now()));
}

function concerns(event) {
  const followed = element("main").dataset.follow;
  return followed === "all" || (followed.startsWith("job:") && followed.slice(4) === event.job);
}

// ---- following the queue

function connect() {
  source?.close();
  if (isPast()) return;
  source = new EventSource(`${STREAM}?after=${heard}`);
  source.onopen = () => {
    refused = 0;
    element("lost").hidden = true;
    say(isPaused ? "paused" : "live");
    if (heard > shown) soon();
  };
  source.onmessage = hear;
  source.addEventListener("damage", refresh);
  source.onerror = () => {
    const isRefused = source.readyState === EventSource.CLOSED;
    // A page may know of an event that the stream has not told yet.
    if (!isRefused || refused++) lose();
    if (!isRefused) return;
    setTimeout(connect, refused > 1 ? RETRY_MS : SOON_MS);
    if (refused > 1) refresh(); // which leads to where one signs in
  };
}

function hear(message) {
  const event = JSON.parse(message.data);
  heard = Math.max(heard, event.offset);
  if (!isPaused && event.offset > shown && concerns(event)) soon();
}

function lose() {
  say("lost");
  const banner = element("lost");
  if (!banner.hidden || isPast()) return;
  banner.textContent = "The server does not answer: what is shown is not current. Trying again …";
  banner.hidden = false;
}

function say(state) {
  const pulse = element("pulse");
  pulse.dataset.is = state;
  pulse.textContent = { live: "live", paused: "paused", lost: "not connected" }[state] || state;
}

function pause() {
  isPaused = !isPaused;
  element("pause").setAttribute("aria-pressed", String(isPaused));
  element("pause").textContent = isPaused ? "Go on" : "Pause";
  say(isPaused ? "paused" : source?.readyState === EventSource.OPEN ? "live" : "lost");
  if (!isPaused) refresh();
}

// ---- time travel

let travelTimer = 0;

function travel(offset) {
  clearTimeout(travelTimer);
  travelTimer = setTimeout(async () => {
    const url = new URL(address(), location.href);
    url.searchParams.delete("before");
    if (offset < Number(frame().head)) url.searchParams.set("at", offset);
    else url.searchParams.delete("at");
    const was = isPast();
    history.replaceState(null, "", url);
    try {
      await look(url.pathname + url.search);
    } catch {
      location.assign(url);
    }
    if (isPast() !== was) connect();
  }, 120);
}

document.addEventListener("input", (event) => {
  if (event.target.matches("#travel input[type=range]")) travel(Number(event.target.value));
});

// ---- what a job prints

async function follow(place) {
  place.dataset.followed = "1";
  place.scrollTop = place.scrollHeight;
  while (place.isConnected && !isPast()) {
    if (!isPaused && !document.hidden) {
      try {
        const answer = await fetch(`${place.dataset.output}?from=${place.dataset.next}`);
        if (!answer.ok) return;
        const more = await answer.json();
        append(place, more.text);
        place.dataset.next = more.next;
        if (more.over) return;
        if (more.text) continue;
      } catch {
        lose();
      }
    }
    await new Promise((wake) => setTimeout(wake, OUTPUT_MS));
  }
}

function append(place, text) {
  if (!text) return;
  const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
  place.append(text);
  if (place.textContent.length > OUTPUT_CHARACTERS_MAX) {
    place.textContent = place.textContent.slice(-OUTPUT_CHARACTERS_MAX / 2);
  }
  if (isAtEnd) place.scrollTop = place.scrollHeight;
}

// ---- all of it

function setUp() {
  element("live").hidden = isPast() || !follows();
  const slider = document.querySelector("#travel input[type=range]");
  if (slider && slider !== document.activeElement) slider.value = slider.getAttribute("value");
  for (const place of document.querySelectorAll("[data-prints='1']:not([data-followed])")) follow(place);
  charts();
}

document.documentElement.classList.add("scripted");
if (address() !== location.pathname + location.search) history.replaceState(null, "", address());
element("pause").addEventListener("click", pause);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
setInterval(() => {
  if (performance.now() - looked > IDLE_MS && follows()) refresh();
}, IDLE_MS / 3);
setUp();
connect();
