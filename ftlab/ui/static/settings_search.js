/* The search in the panel of all settings: what does not match is hidden by a style sheet, so that neither values nor
   Gradio's own classes change. A setting is found by its name, its label, its hint and the title of its group. */
const root = element.querySelector(".ftlab-search");
const field = root.querySelector("input"), nothing = root.querySelector("p"), sheet = root.querySelector("style");
const names = JSON.parse(root.dataset.names);
const normalize = (text) => text.toLowerCase().replace(/[-_\s]+/g, " ");

const filter = () => {
  const words = normalize(field.value).split(" ").filter(Boolean);
  const hidden = [];
  let shown = 0;
  for (const group of document.querySelectorAll(".ftlab-group")) {
    const title = group.querySelector("h2").textContent;
    // Settings, and the tools below them.
    const items = [...group.querySelectorAll(":scope > .ftlab-fields [id^='train-'], :scope > [id^='train-']")]
      .filter((item) => item.id in names || item.parentElement === group);
    const hits = items.filter((item) => {
      const text = normalize([names[item.id] ?? "", title, item.textContent].join(" "));
      return words.every((word) => text.includes(word));
    });
    shown += hits.length;
    hidden.push(...(hits.length ? items.filter((item) => !hits.includes(item)) : [group]));
  }
  sheet.textContent = words.length && hidden.length ? hidden.map((item) => "#" + item.id).join(",") + "{display:none!important}" : "";
  nothing.hidden = shown > 0;
};
field.addEventListener("input", filter);
