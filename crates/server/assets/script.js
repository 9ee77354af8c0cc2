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

// Says who changes what is shown, while it is looked at. A hidden page holds no stream.
for (const place of document.querySelectorAll("[data-feed]")) {
    const { feed, path, hash } = place.dataset;
    let since = null;
    let stream = null;
    const say = (set) => {
        const change = set.files.find((file) => !path || file.path === path || file.moved_from === path);
        if (!change) return;
        // The set that brought what is shown: those before it are no news.
        if (path && change.path === path && change.new_hash === hash) return place.replaceChildren();
        const who = document.createElement("bdi");
        who.textContent = set.agent_id;
        const show = document.createElement("a");
        show.href = location.href;
        show.textContent = "Show it";
        const what = set.message ? `: ${set.message}` : "";
        place.replaceChildren("Changed by ", who, ` just now${what}. `, show);
    };
    const follow = () => {
        if (document.hidden) {
            stream?.close();
            stream = null;
        } else if (!stream) {
            const url = new URL(feed, location.href);
            if (since) url.searchParams.set("since", since);
            stream = new EventSource(url);
            stream.addEventListener("change", (event) => {
                since = event.lastEventId;
                say(JSON.parse(event.data));
            });
        }
    };
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", () => stream?.close());
    follow();
}
