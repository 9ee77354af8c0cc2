// Comforts of the pages for people. Everything works without it.
"use strict";

// "/" leads to the search, as in many programs.
document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input, select, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const field = document.getElementById("q");
    if (field) field.focus();
    else location.assign("/ui/search");
});

// Times say in the reader's own zone what they mean.
for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString();
}

// On narrow screens the tree is closed until it is asked for.
if (matchMedia("(max-width: 60rem)").matches) {
    for (const tree of document.querySelectorAll(".tree > details, .outline > details")) tree.open = false;
}
