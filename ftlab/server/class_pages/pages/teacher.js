const main = document.querySelector("main");
const texts = JSON.parse(main.dataset.texts);
const path = main.dataset.path;
const find = (id) => document.getElementById(id);
const REFRESH_MS = 2000;
const SAID_MS = 8000;
const SHOWN_RESULTS = 15;
const drawn = {};
let state = null;
let showsAll = false;
let locksTouched = false;

// Names are other people's: they become text, never markup.
function make(tag, attributes, ...content) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key === "onclick") element.addEventListener("click", value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...content.filter((part) => part != null));
  return element;
}
const fill = (key, values) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const name = (text) => make("bdi", {}, text);
const button = (key, onclick, css) => make("button", { type: "button", class: css, onclick }, texts[key]);

let silence;
function say(text, isRefusal) {
  find("said").textContent = text;
  find("said").classList.toggle("refusal", Boolean(isRefusal));
  clearTimeout(silence);
  // What went well is soon seen in the page itself; a refusal stays until the next action.
  if (text && !isRefusal) silence = setTimeout(() => say(""), SAID_MS);
}

async function send(action, fields) {
  try {
    const answer = await fetch(`${path}/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(fields),
    });
    const isJson = (answer.headers.get("content-type") ?? "").includes("json");
    say(isJson ? (await answer.json()).detail : await answer.text(), !answer.ok);
    if (answer.ok) await refresh();
    return answer.ok;
  } catch {
    say(texts.unreachable, true);
    return false;
  }
}

// A part is drawn again only where it has changed: focus and selection stay.
function redraw(id, values, draw, emptyKey) {
  const digest = JSON.stringify(values);
  if (drawn[id] === digest) return;
  drawn[id] = digest;
  const rows = values.map(draw);
  find(id).replaceChildren(...(rows.length ? rows : [make("li", { class: "empty" }, texts[emptyKey])]));
}

function drawState(run) {
  const parts = [make("span", { class: `state ${run.status}` }, run.status_text)];
  if (run.is_active && run.progress != null) {
    const percent = Math.round(100 * run.progress);
    parts.push(make("progress", { max: 100, value: percent, "aria-label": `${percent} %` }));
    parts.push(make("span", { class: "figure" }, `${percent} %`));
  }
  if (run.accuracy) {
    const text = run.is_active ? fill("so_far", { count: run.accuracy }) : run.accuracy;
    parts.push(make(run.is_active ? "span" : "b", { class: "figure" }, text));
  }
  return make("span", { class: "doing" }, ...parts);
}
const stop = (run) =>
  button("stop", () => send("stop", { run: run.run, by_force: run.status === "hanging" }));

function drawMember(member) {
  const count = member.run_count === 1 ? texts.run_count_one : fill("run_count", { count: member.run_count });
  const about = member.run_count ? `${member.seen} · ${count}` : member.seen;
  return make(
    "li",
    { class: member.is_here ? "here" : "away" },
    make(
      "span",
      { class: "whose" },
      make("b", {}, name(member.name)),
      member.is_teacher ? make("span", { class: "mark" }, texts.teacher_mark) : null,
      make("small", {}, about),
    ),
    member.run ? drawState(member.run) : make("span", { class: "doing quiet" }, texts.no_run),
    make(
      "span",
      { class: "do" },
      member.run?.is_active ? stop(member.run) : null,
      member.is_teacher
        ? null
        : button("remove", () => {
            if (confirm(fill("remove_sure", { name: member.name }))) send("remove", { member: member.member });
          }),
    ),
  );
}

function drawBarred(member) {
  return make(
    "li",
    {},
    make("span", { class: "whose" }, make("b", {}, name(member.name))),
    make("span", { class: "do" }, button("readmit", () => send("readmit", { member: member.member }))),
  );
}

function drawRun(run) {
  const owner = run.owner ? make("small", {}, ...splitBy(run.owner)) : null;
  return make(
    "li",
    {},
    make(
      "span",
      { class: "whose" },
      make("b", {}, name(run.title)),
      run.is_projected ? make("span", { class: "mark" }, texts.is_projected) : null,
      owner,
    ),
    drawState(run),
    make(
      "span",
      { class: "do" },
      run.is_active ? stop(run) : null,
      button(run.is_shared ? "unshare" : "share", () =>
        send("share", { run: run.run, is_shared: !run.is_shared }),
      ),
      button(run.is_projected ? "unproject" : "project", () =>
        send("project", { run: run.is_projected ? "" : run.run }),
      ),
    ),
  );
}
function drawWaiting(run) {
  return make(
    "li",
    {},
    make("span", { class: "whose" }, make("b", {}, name(run.owner || run.title)), make("small", {}, run.place)),
    make("span", { class: "do" }, stop(run)),
  );
}
function splitBy(owner) {
  const [before, after] = texts.by.split("{name}");
  return [before, name(owner), after];
}

function drawLocks() {
  const digest = JSON.stringify([state.locks, state.sources]);
  if (locksTouched || drawn.locks === digest) return;
  drawn.locks = digest;
  find("sources").replaceChildren(
    ...state.sources.map((source) =>
      make(
        "label",
        { class: "tick" },
        make("input", { type: "checkbox", name: "sources", value: source.source }),
        " ",
        name(source.title),
      ),
    ),
  );
  for (const group of ["modes", "backbones", "sources"])
    for (const box of find(group).querySelectorAll("input"))
      box.checked = state.locks[group].includes(box.value);
  find("max-epochs").value = state.locks.max_epochs;
  countChosen();
}

function countChosen() {
  for (const count of find("locks").querySelectorAll(".chosen")) {
    const chosen = count.closest("details").querySelectorAll("input:checked").length;
    count.textContent = chosen ? fill("some_allowed", { count: chosen }) : texts.all_allowed;
  }
}

function draw() {
  find("member-count").textContent = state.members.filter((member) => !member.is_teacher).length;
  find("queue-count").textContent = state.queue.length;
  find("run-count").textContent = state.runs.length;
  find("pause").textContent = texts[state.is_paused ? "allow" : "pause"];
  document.body.classList.toggle("paused", state.is_paused);
  find("stop-all").disabled = !state.runs.some((run) => run.is_active);
  redraw("members", state.members, drawMember, "nobody");
  find("nobody").hidden = state.members.some((member) => !member.is_teacher);
  find("barred-section").hidden = !state.barred.length;
  redraw("barred", state.barred, drawBarred, "nobody");
  find("close-room").textContent = texts[state.is_closed ? "open_room" : "close_room"];
  find("close-room").setAttribute("aria-pressed", String(state.is_closed));
  redraw("queue", state.queue, drawWaiting, "no_queue");
  const shown = showsAll ? state.runs : state.runs.slice(0, SHOWN_RESULTS);
  redraw("runs", shown, drawRun, "no_results");
  if (shown.length < state.runs.length && !find("more"))
    find("runs").after(
      make(
        "button",
        {
          type: "button",
          id: "more",
          onclick: () => {
            showsAll = true;
            find("more").remove();
            draw();
          },
        },
        fill("more", { count: state.runs.length }),
      ),
    );
  redraw(
    "handed",
    state.handed,
    (entry) =>
      make(
        "li",
        {},
        make("b", {}, name(entry.title)),
        make("span", { class: "do" }, button("take_back", () => send("take", { name: entry.name }))),
      ),
    "none_handed",
  );
  drawLocks();
}

async function refresh() {
  try {
    const answer = await fetch(`${path}/roster`);
    if (answer.status === 401 || answer.status === 403) {
      location.reload(); // signed out elsewhere: the server asks to join
      return;
    }
    if (!answer.ok) throw new Error(answer.statusText);
    if (find("said").textContent === texts.unreachable) say("");
    state = await answer.json();
    draw();
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError || state === null) say(texts.unreachable, true);
    else throw error;
  }
}

find("pause").addEventListener("click", () => send("pause", { is_paused: !state?.is_paused }));
find("close-room").addEventListener("click", () => send("close", { is_closed: !state?.is_closed }));
find("stop-all").addEventListener("click", () => send("stop", { all: true }));
find("locks").addEventListener("input", () => {
  locksTouched = true;
  countChosen();
});
find("locks").addEventListener("submit", async (event) => {
  event.preventDefault();
  const ticked = (group) => [...find(group).querySelectorAll("input:checked")].map((box) => box.value);
  const fields = { modes: ticked("modes"), backbones: ticked("backbones"), sources: ticked("sources") };
  locksTouched = false;
  drawn.locks = "";
  if (!(await send("lock", { ...fields, max_epochs: Number(find("max-epochs").value) }))) locksTouched = true;
});
find("handing").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const value = (key) => form.elements.namedItem(key)?.value ?? "";
  if (await send("hand", { folder: value("folder"), upload: value("upload"), title: value("title") })) form.reset();
});
const end = find("end");
if (end) {
  const isSaved = find("is-saved");
  isSaved.addEventListener("change", () => {
    end.querySelector("button").disabled = !isSaved.checked;
  });
  end.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!confirm(texts.end_sure)) return;
    if (await send("end", { is_saved: isSaved.checked })) {
      sessionStorage.setItem("ftlab-said", find("said").textContent);
      scrollTo(0, 0);
      location.reload(); // with the new codes
    }
  });
}
const saidBefore = sessionStorage.getItem("ftlab-said");
if (saidBefore) {
  sessionStorage.removeItem("ftlab-said");
  say(saidBefore);
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, REFRESH_MS);
}
keepFresh();
