const form = document.getElementById("join");
const refusal = document.getElementById("refusal");
const button = form.querySelector("button");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  refusal.textContent = "";
  try {
    const answer = await fetch(location.pathname, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code: form.code.value, name: form.elements.name.value }),
    });
    const fields = await answer.json();
    if (fields.location) {
      location.assign(fields.location);
      return;
    }
    refusal.textContent = fields.detail;
  } catch {
    refusal.textContent = form.dataset.unreachable;
  }
  button.disabled = false;
});
form.elements[form.code.value ? "name" : "code"].focus();
