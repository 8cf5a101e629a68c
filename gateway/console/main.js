// The page: who is signed in, which section is open, what the bar says.

import { whenRefused } from "./api.js";
import { h, say } from "./dom.js";
import { clock, short, span } from "./format.js";
import { notice } from "./notice.js";
import * as pulse from "./pulse.js";
import * as session from "./session.js";
import { signIn } from "./sign-in.js";
import { accounts } from "./sections/accounts.js";
import { audit } from "./sections/audit.js";
import { config } from "./sections/config.js";
import { keys } from "./sections/keys.js";
import { ledger } from "./sections/ledger.js";
import { models } from "./sections/models.js";
import { overview } from "./sections/overview.js";
import { playground } from "./sections/playground.js";
import { requests } from "./sections/requests.js";
import { spend } from "./sections/spend.js";
import { upstreams } from "./sections/upstreams.js";
import { usage } from "./sections/usage.js";
import { parts } from "./table.js";

const SECTIONS = [overview, requests, upstreams, models, keys, usage, accounts, spend, ledger, config, audit, playground];

const byId = (id) => document.getElementById(id);
const main = byId("main");
const nav = byId("nav");
const menu = byId("menu");
const signOut = byId("sign-out");

/** Ends what the open section does. */
let close = () => {};

const links = new Map(
  SECTIONS.map((section) => [section.id, h("a", { href: `#/${section.id}` }, section.title)]),
);
nav.append(h("ul", {}, [...links.values()].map((link) => h("li", {}, link))));

function named() {
  const id = location.hash.replace(/^#\/?/, "");
  return SECTIONS.find((section) => section.id === id) ?? overview;
}

function show({ isFocused }) {
  close();
  close = () => {};
  toggleMenu(false);
  // A dialog belongs to the section that opened it.
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  const isIn = session.current() !== null;
  nav.hidden = !isIn;
  menu.hidden = !isIn;
  signOut.hidden = !isIn;
  byId("frame").classList.toggle("alone", !isIn);
  if (!isIn) {
    document.title = "Sign in · Mulberry";
    main.replaceChildren();
    signIn(main, enter);
    return;
  }
  const section = named();
  document.title = `${section.title} · Mulberry`;
  for (const [id, link] of links) {
    if (id === section.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = h("h1", { tabindex: -1 }, section.title);
  const root = h("div", { class: "section" });
  main.replaceChildren(heading, root);
  close = section.open(root) ?? (() => {});
  scrollTo(0, 0);
  if (isFocused) heading.focus({ preventScroll: true });
}

function enter() {
  pulse.start();
  show({ isFocused: true });
}

/** @param reason what the sign-in page says, if the operator did not ask for this */
function leave(reason) {
  session.end();
  pulse.stop();
  tellState();
  show({ isFocused: false });
  notice(reason, reason === "Signed out." ? "good" : "warn");
}

function toggleMenu(isOpen) {
  menu.setAttribute("aria-expanded", String(isOpen));
  nav.classList.toggle("open", isOpen);
}

/** Phase, version and configuration in the bar, and a line below it while no answer comes. */
function tellState() {
  const state = byId("state");
  const stale = byId("stale");
  const last = pulse.latest();
  const problem = pulse.problem();
  const line = problem && problem.status !== 401 ? stateless(last, problem) : "";
  stale.hidden = line === "";
  say(stale, line);
  if (!last) {
    state.replaceChildren();
    delete state.dataset.said;
    return;
  }
  const { phase, version, config: file, uptime_s: up } = last.status;
  const isServing = phase === "serving";
  const value = [
    { text: phase, mark: true, tone: isServing ? "good" : "warn" },
    { text: `version ${version}`, tone: "dim" },
    { text: `configuration ${short(file?.hash)}`, tone: "dim" },
    { text: `up ${up < 60 ? "for less than a minute" : span(up).replace(/ \d+ s$/, "")}`, tone: "dim" },
  ];
  const said = JSON.stringify(value);
  if (state.dataset.said === said) return;
  state.dataset.said = said;
  state.replaceChildren(...parts(value));
}

function stateless(last, problem) {
  const since = last ? ` What you see is from ${clock(last.at)}.` : "";
  return `${problem.message}${since} Asking again every ${pulse.EVERY_MS / 1000} s.`;
}

whenRefused(() => leave("The gateway refused the admin token. Sign in again."));
pulse.follow(tellState);
menu.addEventListener("click", () => toggleMenu(menu.getAttribute("aria-expanded") !== "true"));
nav.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  toggleMenu(false);
  menu.focus();
});
signOut.addEventListener("click", () => leave("Signed out."));
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => show({ isFocused: true }));

if (session.current() !== null) pulse.start();
show({ isFocused: false });
