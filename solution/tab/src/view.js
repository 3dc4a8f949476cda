/** Which screen shows what is known. Pure: all of the tab's decisions about screens are here. */

import { isSignedIn } from "./rows.js"

const ENDED = new Set(["READY", "TOO_SMALL", "NOT_ALLOWED", "FAILED", "CANCELLED", "ARCHIVED", "EXPIRED"])
const CHECKING = new Set(["REQUESTED", "CHECKING"])
const WAITING = new Set(["WAITING_FOR_SIGN_IN", "WAITING_FOR_AD_ACCOUNT", "READY_TO_CREATE"])
const SLOW_START = 30_000

/**
 * Whether the row of an audience may still change without this person
 *
 * @param {object | null} audience
 * @returns {boolean} true while it has not ended, or while a command has not been taken yet
 */
export function isMoving(audience) {
  return Boolean(audience) && (!ENDED.has(audience.status) || audience.command !== null)
}

/**
 * Why a segment cannot become an audience, as far as the tab can see
 *
 * @param {object} segment
 * @returns {string | null} the first part of a name in the strings; null when it can
 */
export function refusalOf(segment) {
  if (!["contact", "lead"].includes(segment.base)) return "base"
  if (!segment.isLive) return segment.table === "list" ? "notLiveList" : "notLive"
  if (!segment.isStatic) return "notStatic"
  return null
}

/**
 * @param {object} known - what the tab knows: `problem`, `segment`, `audiences`, `signIn`, `step`, `showing`, `fresh`, `now`
 * @returns {{screen: string, audience: object | null, reason?: string, phase?: string}} what to show
 */
export function viewOf(known) {
  const audience = shownAudience(known)
  if (known.problem) return { screen: "refused", audience: null, reason: known.problem.kind }
  if (!audience) return beginning(known)
  if (audience.command === "RETRY" || audience.command === "CREATE") return { screen: "running", audience, phase: "starting" }
  if (CHECKING.has(audience.status)) return { screen: "running", audience, phase: checkingPhase(audience, known.now) }
  if (WAITING.has(audience.status)) return { screen: wizardScreen(known, audience), audience, phase: pendingPhase(audience) }
  if (audience.status === "UPLOADING") return { screen: "running", audience, phase: pendingPhase(audience) ?? "sending" }
  if (audience.status === "NOT_ALLOWED") return { screen: "refused", audience, reason: "notAllowed" }
  return { screen: "result", audience }
}

/**
 * @param {object} known - see `viewOf`
 * @returns {object | null} the audience on the screen: one picked from the history, else the newest
 */
export function shownAudience({ audiences, showing, fresh }) {
  if (fresh) return null
  return audiences.find((audience) => audience.id === showing) ?? audiences[0] ?? null
}

/**
 * @param {object} view - from `viewOf`
 * @returns {number} where in the five steps of the wizard the view is; 5 when all are done
 */
export function stepOf(view) {
  const { screen, phase, audience } = view
  if (screen === "signin") return 1
  if (screen === "choose") return 2
  if (screen === "running") return phase === "sending" || (phase !== "checking" && phase !== "slow" && sendingAt(audience)) ? 3 : 0
  if (screen === "result") return { BUILDING: 4, READY: 5, ARCHIVED: 5, EXPIRED: 5 }[audience.status] ?? (audience.sent ? 3 : 0)
  return 0
}

function sendingAt(audience) {
  return audience.command === "CREATE" || audience.status === "UPLOADING" || Boolean(audience.account)
}

function beginning({ segment, anyway }) {
  const reason = refusalOf(segment)
  if (reason && !(reason === "notStatic" && anyway)) return { screen: "refused", audience: null, reason }
  return { screen: "before", audience: null }
}

function checkingPhase(audience, now) {
  if (audience.command === "CANCEL") return "cancelling"
  const waited = now - (audience.created ?? now)
  return audience.status === "REQUESTED" && waited > SLOW_START ? "slow" : "checking"
}

function pendingPhase(audience) {
  return audience.command === "CANCEL" ? "cancelling" : undefined
}

function wizardScreen({ step, signIn, now }, audience) {
  if (audience.command === "CANCEL") return "running"
  // An audience that has its ad account was on its way already, and lost its sign-in there.
  if (audience.status === "WAITING_FOR_SIGN_IN" && audience.account) return "signin"
  if (step !== "choose" && step !== "signin") return "checked"
  return isSignedIn(signIn, now) ? "choose" : "signin"
}
