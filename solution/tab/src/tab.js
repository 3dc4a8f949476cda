/** The tab: reads what there is, shows the screen for it, and does what the person asks. It keeps nothing. */

import "./fluent.js"
import { connect, recordFrom } from "./api.js"
import { SignInFlow } from "./connect.js"
import { fill, h, setText } from "./dom.js"
import { languageOf } from "./languages.js"
import { notice } from "./parts/notice.js"
import { GoingLive } from "./parts/going-live.js"
import { History } from "./parts/history.js"
import { SignInBar } from "./parts/sign-in-bar.js"
import { Steps } from "./parts/steps.js"
import { Pulse } from "./pulse.js"
import { isSignedIn } from "./rows.js"
import { Before } from "./screens/before.js"
import { Checked } from "./screens/checked.js"
import { Choose } from "./screens/choose.js"
import { Refused } from "./screens/refused.js"
import { Result } from "./screens/result.js"
import { Running } from "./screens/running.js"
import { SignInScreen } from "./screens/sign-in.js"
import { Speech } from "./speech.js"
import { isMoving, shownAudience, viewOf } from "./view.js"

const SCREENS = {
  before: Before, checked: Checked, choose: Choose, refused: Refused, result: Result, running: Running, signin: SignInScreen,
}
// What windows of one browser tell each other: the id of a segment whose audiences have changed, or this
const CHANNEL = "lima-tab"
const SIGNED_IN = "signed in"

/** The whole page, given its root, an API and the record it stands beside. */
export class Tab {
  /**
   * @param {HTMLElement} root - the page's main element
   * @param {import("./api.js").Api} api
   * @param {{table: string, id: string}} record
   * @param {Speech} speech
   */
  constructor(root, api, record, speech) {
    this.root = root
    this.api = api
    this.ref = { table: record.table, id: record.id }
    this.speech = speech
    this.known = { segment: null, audiences: [], signIn: null, problem: null, step: "checked", showing: null, fresh: false, anyway: false }
    this.busy = null
    this.changes = 0
    this.draft = {}
    this.screen = null
    this.screenName = null
    this.isShown = true
    this.flow = new SignInFlow(api, window, { changed: () => this.show(), doorbell: () => this.pulse.wake() })
    this.pulse = new Pulse(() => this.look(), () => this.isSeen())
    this.others = new BroadcastChannel(CHANNEL)
    this.build()
  }

  build() {
    const { speech } = this
    this.signInBar = new SignInBar(this)
    this.steps = new Steps(speech)
    this.trouble = h("div.trouble", { role: "alert" })
    this.stage = h("section.stage.card")
    this.live = new GoingLive(this)
    this.history = new History(this)
    this.spoken = h("div.spoken", { role: "status" })
    fill(
      this.root,
      h("header.top", {}, h("h1", {}, speech.say("title")), this.signInBar.element),
      this.signInBar.warning, this.trouble, this.steps.element, this.stage, this.live.element, this.history.element, this.spoken,
    )
    fill(this.stage, h("div.loading", {}, h("fluent-spinner", { size: "small", "aria-hidden": "true" }), speech.say("loading")))
  }

  /** Read everything once, show it, and keep it fresh from then on. */
  async start() {
    await this.refresh()
    document.addEventListener("visibilitychange", () => this.cameBack())
    window.addEventListener("focus", () => this.cameBack())
    this.others.addEventListener("message", ({ data }) => [this.ref.id, SIGNED_IN].includes(data) && this.refresh())
    new IntersectionObserver((entries) => {
      const wasShown = this.isShown
      this.isShown = entries.at(-1).isIntersecting
      if (this.isShown && !wasShown) this.cameBack()
    }).observe(this.root)
  }

  /** Read everything again and show it. Never rejects; a failure becomes the screen. */
  async refresh() {
    this.pulse.justLooked()
    this.ref.id ||= this.api.formRecordId()
    try {
      if (!this.ref.id) throw Object.assign(new Error(), { kind: "unsaved" })
      const [segment, audiences, signIn] = await Promise.all([
        this.api.segment(this.ref), this.api.audiences(this.ref), this.api.signIn(),
      ])
      Object.assign(this.known, { segment, audiences, problem: null })
      this.takeSignIn(signIn)
    } catch (trouble) {
      const kind = trouble.kind === "other" ? "unreachable" : trouble.kind
      if (!kind) throw trouble
      this.known.problem = { kind, message: trouble.message }
    }
    this.pulse.justLooked()
    this.show()
  }

  // Somebody looks at the page again: what moves is looked at anyway, the rest is read once.
  cameBack() {
    if (!this.isSeen() || this.busy || !this.screen) return
    if (this.hasToLook()) this.pulse.wake()
    else if (this.pulse.isRested()) this.refresh()
  }

  isSeen() {
    return document.visibilityState === "visible" && this.isShown
  }

  // One look is one request: while both rows are watched, they take turns.
  async look() {
    const { changes } = this
    const audience = this.watchedAudience()
    const watchesSignIn = this.watchesSignIn()
    this.turn = !this.turn
    try {
      const take = watchesSignIn && (this.turn || !audience) ? await this.readSignIn() : await this.readAudience(audience)
      // What was read before this person did something is out of date by now.
      if (changes === this.changes) take()
      this.clearTrouble("trouble.polling")
    } catch (trouble) {
      this.complain("trouble.polling")
      throw trouble
    }
    this.show()
    return this.hasToLook()
  }

  async readSignIn() {
    const signIn = await this.api.signIn()
    return () => this.takeSignIn(signIn)
  }

  async readAudience(audience) {
    if (!audience) return () => {}
    if (audience.id !== this.known.audiences[0].id) {
      const fresh = await this.api.audience(audience.id)
      return () => this.put(fresh)
    }
    const [newest] = await this.api.audiences(this.ref, 1)
    if (newest?.id === audience.id) return () => this.put(newest)
    const audiences = await this.api.audiences(this.ref)
    return () => Object.assign(this.known, { audiences })
  }

  put(fresh) {
    this.known.audiences = this.known.audiences.map((audience) => (audience.id === fresh.id ? fresh : audience))
  }

  takeSignIn(signIn) {
    this.known.signIn = signIn
    const isOver = this.flow.sees(signIn)
    if (!isOver || !isSignedIn(signIn, new Date())) return
    this.announce(this.speech.say("signin.ok"))
    this.others.postMessage(SIGNED_IN)
  }

  watchedAudience() {
    const audience = this.known.problem ? null : shownAudience(this.known)
    return isMoving(audience) ? audience : null
  }

  watchesSignIn() {
    return this.flow.isActive || Boolean(this.known.signIn?.pending)
  }

  hasToLook() {
    return Boolean(this.watchedAudience()) || this.watchesSignIn()
  }

  /** Show what is known now; the screen that is already there is only brought up to date. */
  show() {
    if (!this.known.segment && !this.known.problem) return
    const view = viewOf({ ...this.known, now: new Date() })
    if (this.screenName !== view.screen) this.change(view.screen)
    this.screen.update(view)
    this.stage.setAttribute("aria-busy", String(Boolean(this.busy)))
    this.steps.update(view)
    this.signInBar.update()
    this.live.update()
    this.history.update()
    if (this.hasToLook()) this.pulse.wake()
  }

  // The focus follows when the screen it was in goes away, or when this person asked for the change.
  change(name) {
    const held = this.stage.contains(document.activeElement) || this.follows
    const isFirst = this.screen === null
    this.screen = new SCREENS[name](this)
    this.screenName = name
    fill(this.stage, this.screen.element)
    this.screen.heading.tabIndex = -1
    this.follows = false
    if (isFirst) performance.mark("lima:first-screen")
    if (held) queueMicrotask(() => this.screen.heading.focus())
    else if (!isFirst) queueMicrotask(() => this.announce(this.screen.heading.textContent))
  }

  /**
   * Say something to people who listen
   *
   * @param {string} words
   */
  announce(words) {
    setText(this.spoken, words)
  }

  /**
   * Do something once, however often it is clicked, and show what came of it
   *
   * @param {string} name - of what is done; shown as `busy` meanwhile
   * @param {() => Promise<unknown>} work
   */
  async act(name, work) {
    if (this.busy) return
    this.busy = name
    this.changes += 1
    this.clearTrouble()
    this.follows = true
    this.show()
    try {
      await work()
      await this.refresh()
      this.others.postMessage(this.ref.id)
    } catch (trouble) {
      if (!trouble.kind) throw trouble
      this.complain(`trouble.${trouble.kind}`, trouble.message)
    } finally {
      this.busy = null
      this.show()
      this.follows = false
    }
  }

  complain(key, message = "") {
    if (this.complaint === key) return
    this.complaint = key
    fill(this.trouble, notice("error", this.speech.say(key, { message })))
  }

  clearTrouble(key = this.complaint) {
    if (!key || this.complaint !== key) return
    this.complaint = null
    fill(this.trouble)
  }

  // What people ask for

  /** Have the segment's members read: the first step of an audience. */
  check() {
    this.act("check", async () => {
      const isNew = (audience) => isMoving(audience) && !this.known.audiences.some(({ id }) => id === audience.id)
      const [newest] = await this.api.audiences(this.ref, 1)
      this.nextId ??= crypto.randomUUID()
      // Somebody else, or this person in another window, may have asked a moment ago.
      if (!newest || !isNew(newest)) await this.api.check(this.known.segment, this.nextId)
      this.nextId = null
      this.restart()
    })
  }

  /** Look at the segment again; when an audience was refused, have its segment checked anew. */
  again() {
    const { audience } = viewOf({ ...this.known, now: new Date() })
    if (audience && this.api.isMine(audience)) return this.retry()
    if (audience) this.another()
    this.act("again", async () => {})
  }

  /** Have a dynamic segment checked all the same: an administrator may have allowed that. */
  anyway() {
    this.known.anyway = true
    this.check()
  }

  /** Give up the present check and read the members once more. */
  recheck() {
    const audience = shownAudience(this.known)
    this.act("recheck", async () => {
      await this.api.cancel(audience)
      this.nextId ??= crypto.randomUUID()
      await this.api.check(this.known.segment, this.nextId)
      this.nextId = null
      this.restart()
    })
  }

  /**
   * Have the audience created
   *
   * @param {{name: string, account: object}} choice
   */
  create(choice) {
    const audience = shownAudience(this.known)
    this.act("create", () => this.api.create(audience, { ...choice, smallConfirmed: this.draft.smallConfirmed === audience.id }))
  }

  cancel() {
    const audience = shownAudience(this.known)
    this.act("cancel", () => this.api.cancel(audience))
  }

  retry() {
    const audience = shownAudience(this.known)
    this.act("retry", () => this.api.retry(audience))
  }

  /** Begin another audience from the same segment. */
  another() {
    this.follows = true
    Object.assign(this.known, { fresh: true, showing: null, step: "checked", anyway: false })
    this.show()
  }

  /**
   * Show an audience of the history
   *
   * @param {string | null} id - null for the newest
   */
  pick(id) {
    this.follows = true
    this.screenName = null
    Object.assign(this.known, { showing: id, fresh: false, step: "checked" })
    this.show()
    this.screen.heading.focus()
  }

  /**
   * Go to a step of the wizard
   *
   * @param {"checked" | "signin" | "choose"} step
   */
  goTo(step) {
    this.follows = true
    this.known.step = step
    this.show()
    this.follows = false
  }

  /** Sign in to LinkedIn; must be called in the click itself. */
  async signIn() {
    this.clearTrouble()
    try {
      await this.flow.start(this.known.signIn, this.speech.say("connect.window"))
      this.pulse.wake()
    } catch (trouble) {
      if (!trouble.kind) throw trouble
      this.complain(`trouble.${trouble.kind}`, trouble.message)
    }
  }

  signOut() {
    this.act("signOut", () => this.api.askSignIn(this.known.signIn, "DISCONNECT"))
  }

  refreshAccounts() {
    this.act("accounts", () => this.api.askSignIn(this.known.signIn, "REFRESH_ACCOUNTS"))
  }

  /**
   * @param {boolean} on - whether going live creates an audience
   * @param {object | null} account - the ad account to use
   */
  markForGoingLive(on, account) {
    this.act("mark", async () => {
      await this.api.markForGoingLive(this.ref, on, account)
      this.announce(this.speech.say("live.saved"))
    })
  }

  restart() {
    Object.assign(this.known, { fresh: false, showing: null, step: "checked" })
    this.draft = {}
  }
}

async function open() {
  const record = recordFrom(location.search)
  const api = await connect(window)
  const language = languageOf(record.lcid || api.lcid)
  Object.assign(document.documentElement, { lang: language.spoken, dir: language.direction })
  document.title = language.strings.title
  await new Tab(document.getElementById("tab"), api, record, new Speech(language)).start()
}

open()
