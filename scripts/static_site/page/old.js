// For browsers without modules, which run nothing else of this page.
document.getElementById("hint").textContent =
  "This browser is too old for the network: it lacks JavaScript modules.";
