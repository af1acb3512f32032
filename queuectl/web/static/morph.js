// Makes one tree of elements like another, and keeps what is alike: focus, selection, what was typed,
// and what was opened all stay. An element with `data-keep` belongs to a script and is left alone.

const OWN = { DETAILS: ["open"], INPUT: ["checked"] };

export function morph(from, to) {
  if (from.isEqualNode(to)) return;
  attributes(from, to);
  children(from, to);
}

function attributes(from, to) {
  const own = OWN[from.tagName] || [];
  for (const { name, value } of [...to.attributes]) {
    if (from.getAttribute(name) !== value && !own.includes(name)) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !own.includes(name)) from.removeAttribute(name);
  }
}

function children(from, to) {
  const named = new Map([...from.children].map((one) => [idOf(one), one]));
  const used = new Set();
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    while (place && used.has(place)) place = place.nextSibling;
    const found = counterpart(place, wanted, named, used);
    if (!found) {
      const made = document.importNode(wanted, true);
      if (made.tagName === "TR") made.classList.add("fresh");
      from.insertBefore(made, place);
      used.add(made);
      continue;
    }
    used.add(found);
    if (found === place) place = place.nextSibling;
    else from.insertBefore(found, place);
    if (found.nodeType !== Node.ELEMENT_NODE) {
      if (found.data !== wanted.data) found.data = wanted.data;
    } else if (!found.hasAttribute("data-keep")) {
      morph(found, wanted);
    }
  }
  for (const one of [...from.childNodes]) if (!used.has(one)) one.remove();
}

function counterpart(place, wanted, named, used) {
  const id = idOf(wanted);
  if (id) {
    const found = named.get(id);
    return found && found.tagName === wanted.tagName && !used.has(found) ? found : null;
  }
  const alike = place && !idOf(place) && place.nodeName === wanted.nodeName;
  return alike ? place : null;
}

// A form with a field named "id" has that field as its property of that name.
function idOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("id") : null;
}
