// Shows the rows whose name contains the words in the search box.
document.querySelector("input[type=search]").addEventListener("input", event => {
  const words = event.target.value.toLowerCase();
  let found = 0;
  for (const row of document.querySelectorAll("main section")) {
    const shown = row.querySelector("h2").textContent.toLowerCase().includes(words);
    row.classList.toggle("hidden", !shown);
    found += shown;
  }
  document.querySelector(".found").textContent = found ? "" : "No image has this text in its name.";
});
