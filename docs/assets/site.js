"use strict";
// A table or a block of code that is wider than its frame says so.
addEventListener("load", () => {
  const wide = new ResizeObserver((seen) => {
    for (const { target } of seen) target.toggleAttribute("data-scrolls", target.scrollWidth > target.clientWidth + 1);
  });
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) wide.observe(each);
});
