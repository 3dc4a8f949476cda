/** Choosing the ad account and the audience's name. */

import { fill, h, setText } from "../dom.js"
import { button, labelled, setBusy, tellState } from "../parts/controls.js"
import { notice } from "../parts/notice.js"
import { NAME_LENGTH } from "../rows.js"
import { shownAudience } from "../view.js"

const MANY = 6
const INTENTS = { WAITING_FOR_AD_ACCOUNT: "warning" }

/** What is chosen and typed is kept while the person goes back and forth. */
export class Choose {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    const { speech } = tab
    this.heading = h("h2", {}, speech.say("choose.heading"))
    this.search = h("fluent-text-input.search", { type: "search", oninput: () => this.list() }, speech.say("choose.search"))
    this.found = h("p.spoken", { role: "status" })
    this.choices = h("fluent-radio-group.accounts", {
      orientation: "vertical", name: "account", role: "radiogroup", "aria-label": speech.say("choose.accounts"), onchange: () => this.chose(),
    })
    this.nothing = h("p.note", { hidden: true }, speech.say("choose.nothing"))
    this.unusable = h("div.unusable")
    this.empty = h("div")
    this.reason = h("div", { role: "status" })
    tab.draft.name ??= (shownAudience(tab.known).name || tab.known.segment.name).slice(0, NAME_LENGTH)
    this.name = h(
      "fluent-text-input.name",
      { value: tab.draft.name, maxlength: NAME_LENGTH, oninput: () => (tab.draft.name = this.name.value) },
      speech.say("choose.name"),
    )
    this.problem = h("div.field-error", { role: "alert" })
    this.will = h("p")
    this.create = button(speech.say("choose.create"), () => this.decide(), { appearance: "primary" })
    this.refresh = button(speech.say("choose.refresh"), () => tab.refreshAccounts(), { appearance: "subtle", size: "small" })
    this.form = h(
      "div",
      {},
      h("h3", {}, speech.say("choose.accounts")),
      this.search, this.found, this.choices, this.nothing,
    )
    this.naming = h("div.naming", {}, this.name, h("p.note", {}, speech.say("choose.nameNote", { limit: NAME_LENGTH })), this.will)
    this.element = h(
      "div.screen",
      {},
      this.heading, this.reason, this.empty, this.form, this.unusable,
      h("div.actions.quiet", {}, this.refresh, button(speech.say("choose.other"), () => tab.signIn(), { appearance: "subtle", size: "small" })),
      this.naming, this.problem,
      h("div.actions", {}, this.create, button(speech.say("choose.back"), () => tab.goTo("checked"))),
    )
  }

  /** @param {{audience: object}} view */
  update({ audience }) {
    const { known, speech, busy } = this.tab
    const accounts = known.signIn?.accounts ?? []
    const isReading = busy === "accounts" || known.signIn?.pending === true
    setBusy(this.refresh, isReading, speech.say(isReading ? "choose.refreshing" : "choose.refresh"))
    setBusy(this.create, busy === "create", speech.say(busy === "create" ? "choose.creating" : "choose.create"))
    setText(this.will, speech.say("choose.will", { count: audience.tally.eligible }))
    const key = JSON.stringify([accounts, audience.account, audience.message])
    if (key === this.shown) return
    this.shown = key
    // An audience that has its ad account was on its way already, and the worker says why it is back.
    fill(this.reason, audience.account && audience.message && notice(INTENTS[audience.status] ?? "info", audience.message))
    this.offer(accounts, audience)
  }

  offer(accounts, audience) {
    const { draft } = this.tab
    this.usable = accounts.filter(({ usable }) => usable)
    if (!draft.account) draft.account = audience.account || (this.usable.length === 1 ? this.usable[0].urn : null)
    const hasUsable = this.usable.length > 0
    this.form.hidden = this.naming.hidden = this.create.hidden = !hasUsable
    this.search.hidden = this.usable.length <= MANY
    fill(this.empty, !hasUsable && this.emptyNotice(accounts))
    fill(this.unusable, this.unusableList(accounts.filter(({ usable }) => !usable)))
    this.list()
  }

  emptyNotice(accounts) {
    const key = accounts.length ? "choose.noneUsable" : "choose.none"
    return notice("warning", this.tab.speech.say(key), this.tab.speech.say(`${key}Do`))
  }

  list() {
    const { speech } = this.tab
    const wanted = (this.search.value ?? "").trim().toLowerCase()
    const found = this.usable.filter(({ name, id }) => `${name} ${id}`.toLowerCase().includes(wanted))
    fill(this.choices, found.map((account, index) => this.choice(account, index)))
    this.nothing.hidden = found.length > 0
    if (wanted) setText(this.found, found.length ? speech.say("choose.found", { count: found.length }) : speech.say("choose.nothing"))
    this.tellStates()
  }

  choice(account, index) {
    const radio = h("fluent-radio", { id: `account-${index}`, value: account.urn, name: "account", checked: account.urn === this.tab.draft.account })
    return labelled(radio, h("span.account-name", {}, account.name), " ", h("span.note", {}, this.facts(account)))
  }

  facts({ id, currency, status, role, test }) {
    const { speech } = this.tab
    const named = (group, value) => (speech.strings[`${group}.${value}`] ? speech.say(`${group}.${value}`) : String(value ?? ""))
    const facts = speech.say("choose.facts", { id, currency, status: named("account", status), role: role ? named("role", role) : speech.say("role.none") })
    return test ? `${facts} · ${speech.say("choose.test")}` : facts
  }

  unusableList(accounts) {
    const { speech } = this.tab
    if (accounts.length === 0) return null
    const why = ({ status }) => speech.say(status === "ACTIVE" ? "choose.viewerWhy" : "choose.statusWhy")
    return h(
      "details",
      { open: this.usable.length === 0 },
      h("summary", {}, speech.say("choose.unusable", { count: accounts.length })),
      h("ul", {}, accounts.map((account) => h("li", {}, h("span.account-name", {}, account.name), " ", h("span.note", {}, `${this.facts(account)} – ${why(account)}`)))),
    )
  }

  tellStates() {
    const { account } = this.tab.draft
    this.choices.querySelectorAll("fluent-radio").forEach((radio) => tellState(radio, "radio", radio.value === account))
  }

  chose() {
    this.tab.draft.account = this.choices.value
    this.tellStates()
    setText(this.problem, "")
  }

  decide() {
    const { tab } = this
    const account = this.usable.find(({ urn }) => urn === tab.draft.account)
    const name = (this.name.value ?? "").trim()
    if (!account) return this.lacks("choose.accountMissing", this.choices.querySelector("fluent-radio"))
    if (!name) return this.lacks("choose.nameMissing", this.name)
    tab.create({ name, account })
  }

  lacks(key, field) {
    setText(this.problem, this.tab.speech.say(key))
    field?.focus()
  }
}
