/** Rows of Dataverse as the tab speaks of them. Pure; only this file knows which column holds what. */

import { Audience, Command, Result, SEGMENT_NAME_COLUMNS, SignIn, SignInStatus, Status } from "schema"

const FORMATTED = "@OData.Community.Display.V1.FormattedValue"
const DAY = 24 * 3600 * 1000

/** LinkedIn shows ads to an audience from this many matched members on */
export const SMALLEST_SERVED = 300
/** LinkedIn advises this many members */
export const ADVISED = 10_000
/** Longest name of an audience */
export const NAME_LENGTH = 100
/** Most members LinkedIn takes at a time */
export const BATCH = 5_000
/** Days before its end from which a sign-in is warned about */
export const WARN_DAYS = 10

const nameOf = (choice, value) => Object.keys(choice).find((name) => choice[name] === value) ?? null
const timeOf = (text) => (text ? new Date(text) : null)

/** Columns of an audience that the tab reads */
export const AUDIENCE_COLUMNS = [
  Audience.ID, Audience.NAME, Audience.SEGMENT_TABLE, Audience.SEGMENT_ID, Audience.STATUS, Audience.MESSAGE, Audience.COMMAND,
  Audience.ORIGIN, Audience.PROGRESS, Audience.AD_ACCOUNT, Audience.AD_ACCOUNT_NAME, Audience.MEMBERS, Audience.NO_EMAIL,
  Audience.INVALID, Audience.DUPLICATE, Audience.OPTED_OUT, Audience.INACTIVE, Audience.ELIGIBLE, Audience.SENT,
  Audience.REFUSED, Audience.MATCHED, Audience.SIZE, Audience.MATCH_RATE, Audience.STARTED, Audience.FINISHED, Audience.LINK,
  Audience.LEFT_OUT, "createdon", "_ownerid_value",
]

/**
 * @typedef {object} AudienceRow
 * @property {string} id
 * @property {string} name
 * @property {string} status - a name of the choice, for instance "READY"; a row without one is "REQUESTED"
 * @property {string} message - the worker's own sentence; may be empty
 * @property {string | null} command - what was asked and is not taken yet, for instance "CREATE"
 * @property {number | null} origin
 * @property {number} progress - 0 to 100
 * @property {Record<string, number | null>} tally - members, noEmail, invalid, duplicate, optedOut, inactive, eligible
 * @property {boolean} hasLeftOut - whether the list of members left out can be downloaded
 */

/**
 * @param {object} row - as Xrm.WebApi returns it
 * @returns {AudienceRow} the audience
 */
export function audienceFrom(row) {
  return {
    id: row[Audience.ID],
    name: row[Audience.NAME] ?? "",
    status: nameOf(Status, row[Audience.STATUS]) ?? "REQUESTED",
    message: row[Audience.MESSAGE] ?? "",
    command: nameOf(Command, row[Audience.COMMAND]),
    origin: row[Audience.ORIGIN] ?? null,
    progress: row[Audience.PROGRESS] ?? 0,
    account: row[Audience.AD_ACCOUNT] ?? "",
    accountName: row[Audience.AD_ACCOUNT_NAME] ?? "",
    tally: {
      members: row[Audience.MEMBERS] ?? null,
      noEmail: row[Audience.NO_EMAIL] ?? 0,
      invalid: row[Audience.INVALID] ?? 0,
      duplicate: row[Audience.DUPLICATE] ?? 0,
      optedOut: row[Audience.OPTED_OUT] ?? 0,
      inactive: row[Audience.INACTIVE] ?? 0,
      eligible: row[Audience.ELIGIBLE] ?? 0,
    },
    sent: row[Audience.SENT] ?? null,
    refused: row[Audience.REFUSED] ?? null,
    matched: row[Audience.MATCHED] ?? null,
    size: row[Audience.SIZE] ?? null,
    matchRate: row[Audience.MATCH_RATE] ?? null,
    started: timeOf(row[Audience.STARTED]),
    finished: timeOf(row[Audience.FINISHED]),
    created: timeOf(row.createdon),
    link: row[Audience.LINK] ?? "",
    hasLeftOut: Boolean(row[Audience.LEFT_OUT]),
    owner: row._ownerid_value ?? "",
    ownerName: row[`_ownerid_value${FORMATTED}`] ?? "",
  }
}

/** Columns of a sign-in that the tab reads */
export const SIGN_IN_COLUMNS = [
  SignIn.ID, SignIn.STATUS, SignIn.MESSAGE, SignIn.LINKEDIN_NAME, SignIn.EXPIRES_ON, SignIn.ADDRESS, SignIn.ADDRESS_EXPIRES_ON,
  SignIn.AD_ACCOUNTS, SignIn.COMMAND,
]

/**
 * @param {object | null} row - as Xrm.WebApi returns it; null when the user has none yet
 * @returns {object | null} the sign-in
 */
export function signInFrom(row) {
  if (!row) return null
  return {
    id: row[SignIn.ID],
    status: nameOf(SignInStatus, row[SignIn.STATUS]) ?? "NOT_SIGNED_IN",
    message: row[SignIn.MESSAGE] ?? "",
    name: row[SignIn.LINKEDIN_NAME] ?? "",
    expires: timeOf(row[SignIn.EXPIRES_ON]),
    address: row[SignIn.ADDRESS] ?? "",
    addressExpires: timeOf(row[SignIn.ADDRESS_EXPIRES_ON]),
    accounts: accountsFrom(row[SignIn.AD_ACCOUNTS]),
    pending: row[SignIn.COMMAND] !== null && row[SignIn.COMMAND] !== undefined,
  }
}

function accountsFrom(json) {
  try {
    const listed = JSON.parse(json || "[]")
    return listed.map((account) => ({ ...account, id: String(account.urn).split(":").at(-1) }))
  } catch {
    return []
  }
}

/**
 * What a sign-in is worth at this moment
 *
 * @param {object | null} signIn - from `signInFrom`
 * @param {Date} now
 * @returns {"none" | "waiting" | "ok" | "soon" | "expired" | "refused"} soon: ends within ten days
 */
export function signInState(signIn, now) {
  if (!signIn) return "none"
  const { status, expires } = signIn
  const isGranted = status === "SIGNED_IN" || status === "EXPIRES_SOON"
  // Signing in again, even in vain, does not end an earlier sign-in.
  if (isGranted || ((status === "WAITING" || status === "REFUSED") && expires > now)) {
    if (!expires) return "ok"
    if (expires <= now) return "expired"
    return expires - now <= WARN_DAYS * DAY ? "soon" : "ok"
  }
  return { WAITING: "waiting", EXPIRED: "expired", REFUSED: "refused" }[status] ?? "none"
}

/**
 * @param {object | null} signIn
 * @param {Date} now
 * @returns {boolean} whether audiences can be created with it
 */
export function isSignedIn(signIn, now) {
  return ["ok", "soon"].includes(signInState(signIn, now))
}

// What makes a segment static and live differs by table; values from Microsoft's entity references.
const LIVE_DEFINITION = [723270000, 723270004]
const STATIC_TYPE = 10
const ACTIVE_SEGMENT = [1, 5, 6, 7]
const OUTBOUND_STATIC = 192350001
const OUTBOUND_LIVE = [192350001, 192350003]
const LIST_BASES = { 1: "account", 2: "contact", 4: "lead" }

/** How each segment table is read: its columns, and what they say */
export const SEGMENT_KINDS = {
  msdynmkt_segmentdefinition: {
    columns: ["statuscode"],
    // The definition says neither type nor size; its segment row does.
    companion: {
      table: "msdynmkt_segment",
      columns: ["msdynmkt_type", "msdynmkt_membercount", "msdynmkt_baseentitylogicalname"],
      filter: (id) => `msdynmkt_sourcesegmentuid eq '${id}' or msdynmkt_sourcesegmentuid eq '{${id}}'`,
    },
    read: (row, companion) => ({
      isLive: LIVE_DEFINITION.includes(row.statuscode),
      isStatic: companion ? companion.msdynmkt_type === STATIC_TYPE : true,
      base: companion?.msdynmkt_baseentitylogicalname ?? "contact",
      members: companion?.msdynmkt_membercount ?? null,
    }),
  },
  msdynmkt_segment: {
    columns: ["statuscode", "statecode", "msdynmkt_type", "msdynmkt_membercount", "msdynmkt_baseentitylogicalname"],
    read: (row) => ({
      isLive: row.statecode === 0 && ACTIVE_SEGMENT.includes(row.statuscode),
      isStatic: row.msdynmkt_type === STATIC_TYPE,
      base: row.msdynmkt_baseentitylogicalname ?? "contact",
      members: row.msdynmkt_membercount ?? null,
    }),
  },
  list: {
    columns: ["statecode", "type", "membertype", "membercount"],
    read: (row) => ({
      isLive: row.statecode === 0,
      isStatic: row.type === false,
      base: LIST_BASES[row.membertype] ?? "contact",
      members: row.membercount ?? null,
    }),
  },
  msdyncrm_segment: {
    columns: ["statuscode", "msdyncrm_segmenttype", "msdyncrm_segmentsize"],
    read: (row) => ({
      isLive: OUTBOUND_LIVE.includes(row.statuscode),
      isStatic: row.msdyncrm_segmenttype === OUTBOUND_STATIC,
      base: "contact",
      members: row.msdyncrm_segmentsize ?? null,
    }),
  },
}

/** Columns the product adds to a segment table: the mark for going live */
export const MARK_COLUMNS = [
  Result.CREATE_WHEN_LIVE, Result.LIVE_AD_ACCOUNT, Result.LIVE_AD_ACCOUNT_NAME, `_${Result.LIVE_SET_BY}_value`,
]

/**
 * @param {{table: string, id: string}} ref
 * @param {object} row - the segment's own row
 * @param {object | null} companion - for a segment definition, its segment row
 * @returns {object} the segment; `mark` is null when its table has no mark for going live
 */
export function segmentFrom(ref, row, companion) {
  const hasMark = Result.CREATE_WHEN_LIVE in row
  return {
    ...ref,
    name: row[SEGMENT_NAME_COLUMNS[ref.table]] ?? "",
    ...SEGMENT_KINDS[ref.table].read(row, companion),
    mark: hasMark
      ? {
          on: row[Result.CREATE_WHEN_LIVE] === true,
          account: row[Result.LIVE_AD_ACCOUNT] ?? "",
          accountName: row[Result.LIVE_AD_ACCOUNT_NAME] ?? "",
          setBy: row[`_${Result.LIVE_SET_BY}_value`] ?? "",
          setByName: row[`_${Result.LIVE_SET_BY}_value${FORMATTED}`] ?? "",
        }
      : null,
  }
}
