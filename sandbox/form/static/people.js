/** Who the browser is, told by the server in the page, with links to be somebody else. */

/** @type {{people: object[], me: {id: string, name: string, lcid: number}, languages: [number, string][]}} */
export const facts = JSON.parse(document.body.dataset.facts)

/** Offer the other users and languages at the page's head. */
export function showPeople() {
  const next = location.pathname + location.search
  const links = [
    ...facts.people.map(({ id, name }) => link({ id, next }, name, id === facts.me.id)),
    ...facts.languages.map(([lcid, name]) => link({ lcid, next }, name, lcid === facts.me.lcid)),
  ]
  document.getElementById("who").append(...links)
}

function link(query, words, isPresent) {
  const anchor = document.createElement("a")
  anchor.href = `/form/user?${new URLSearchParams(query)}`
  anchor.textContent = words
  if (isPresent) anchor.setAttribute("aria-current", "true")
  return anchor
}
