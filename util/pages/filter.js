// Shows the rows whose name contains the words in the search box.
document.querySelector("input[type=search]").addEventListener("input", event => {
  const words = event.target.value.toLowerCase();
  for (const row of document.querySelectorAll("main section")) {
    const name = row.querySelector("h2").textContent.toLowerCase();
    row.classList.toggle("hidden", !name.includes(words));
  }
});
