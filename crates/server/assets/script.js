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

// Says who changes what is shown, while it is looked at. A page that stays hidden holds no stream.
for (const place of document.querySelectorAll("[data-feed]")) {
    const { feed, path, hash, namespace } = place.dataset;
    let since = null;
    let stream = null;
    let pause = 5_000;
    let timer = null;
    const say = (set) => {
        const change = set.files.find((file) => !path || file.path === path || file.moved_from === path);
        if (!change || (namespace && set.namespace !== namespace)) return;
        // The set that brought what is shown: those before it are no news.
        if (path && change.path === path && change.new_hash === hash) return place.replaceChildren();
        const who = document.createElement("bdi");
        who.textContent = set.agent_id;
        const show = document.createElement("a");
        show.href = location.pathname + location.search;
        show.textContent = "Show it";
        const what = set.message ? `: ${set.message}` : "";
        place.replaceChildren("Changed by ", who, ` just now${what}. `, show);
    };
    const close = () => {
        stream?.close();
        stream = null;
    };
    const open = () => {
        const url = new URL(feed, location.href);
        if (since) url.searchParams.set("since", since);
        stream = new EventSource(url);
        stream.addEventListener("open", () => (pause = 5_000));
        stream.addEventListener("change", (event) => {
            since = event.lastEventId;
            say(JSON.parse(event.data));
        });
        // A refusal ends a stream for good: it is tried again, ever more rarely.
        stream.addEventListener("error", () => {
            if (stream?.readyState !== EventSource.CLOSED) return;
            close();
            timer = setTimeout(follow, pause);
            pause = Math.min(2 * pause, 300_000);
        });
    };
    const follow = () => {
        clearTimeout(timer);
        if (document.hidden) timer = setTimeout(close, 60_000);
        else if (!stream) open();
    };
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", close);
    addEventListener("pageshow", follow);
}
