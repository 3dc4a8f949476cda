/** The only file that knows Xrm: finds it, reads rows with it, writes rows with it. */

import {
  Audience, AUDIENCE_SET, AUDIENCE_TABLE, Command, LIVE_SET_BY_NAVIGATION, Origin, Result, SEGMENT_NAME_COLUMNS, SignIn,
  SIGN_IN_TABLE, SignInCommand,
} from "schema"
import {
  AUDIENCE_COLUMNS, audienceFrom, MARK_COLUMNS, SEGMENT_KINDS, segmentFrom, SIGN_IN_COLUMNS, signInFrom,
} from "./rows.js"

const LOOK_EVERY = 50
const FALL_BACK_AFTER = 500
const GIVE_UP_AFTER = 60_000
const HISTORY = 50

/** Error codes of Dataverse, as unsigned numbers (Learn: Web service error codes) */
const PRIVILEGE = new Set([0x80040220, 0x80048306, 0x80042f09])
const MISSING = new Set([0x80040217])
const DUPLICATE = 0x80040237

/** Something Dynamics would not do. `kind` is "privilege", "missing", "unreachable" or "other". */
export class Trouble extends Error {
  /** @param {unknown} error - what Xrm.WebApi rejected with */
  constructor(error) {
    super(error?.message ?? String(error))
    this.name = "Trouble"
    this.code = codeOf(error)
    this.kind = kindOf(this.code, error)
  }
}

/**
 * Which record the page stands beside, read from the address Dynamics gave the page
 *
 * @param {string} search - the page's query string; a side pane passes the same in `data`
 * @returns {{table: string, id: string, lcid: number}} `id` in lower case without braces, empty when unsaved
 */
export function recordFrom(search) {
  const outer = new URLSearchParams(search)
  const inner = new URLSearchParams(outer.get("data") ?? "")
  const given = (name) => outer.get(name) ?? inner.get(name) ?? ""
  return { table: given("typename"), id: plainId(given("id")), lcid: Number(given("userlcid")) }
}

/**
 * Wait for the client API: the form hands it over; a page without a form takes its parent's
 *
 * @param {Window} page - the page's window, on which `setClientApiContext` is set
 * @returns {Promise<Api>} rejected after a minute without any client API
 */
export async function connect(page) {
  const handed = new Promise((resolve) => {
    page.setClientApiContext = (xrm, formContext) => resolve(new Api(xrm, formContext))
  })
  const api = await Promise.race([handed, fromParent(page)])
  // The form may come late, and comes again whenever a tab is opened.
  page.setClientApiContext = (_, formContext) => (api.formContext = formContext)
  return api
}

function fromParent(page) {
  return new Promise((resolve, reject) => {
    const began = performance.now()
    const look = () => {
      const waited = performance.now() - began
      const xrm = waited >= FALL_BACK_AFTER ? parentXrm(page) : null
      if (xrm) resolve(new Api(xrm, null))
      else if (waited > GIVE_UP_AFTER) reject(new Error("This page was opened outside of Dynamics."))
      else setTimeout(look, LOOK_EVERY)
    }
    look()
  })
}

function parentXrm(page) {
  try {
    return page.Xrm?.WebApi ? page.Xrm : page.parent.Xrm?.WebApi ? page.parent.Xrm : null
  } catch {
    return null // a parent of another origin
  }
}

/** Reads and writes the rows that the tab is about. Every method rejects with a `Trouble`. */
export class Api {
  /**
   * @param {object} xrm - Microsoft's client API
   * @param {object | null} formContext - the form around the page, if there is one
   */
  constructor(xrm, formContext) {
    this.web = xrm.WebApi
    this.formContext = formContext
    const context = xrm.Utility.getGlobalContext()
    this.clientUrl = context.getClientUrl()
    this.userId = plainId(context.userSettings.userId)
    this.userName = context.userSettings.userName
    this.lcid = context.userSettings.languageId
  }

  /**
   * @returns {string} the form's record id; empty while the record is not saved or there is no form
   */
  formRecordId() {
    return plainId(this.formContext?.data?.entity?.getId?.() ?? "")
  }

  /**
   * Read the segment
   *
   * @param {{table: string, id: string}} ref
   * @returns {Promise<object>} see `segmentFrom`
   */
  async segment(ref) {
    const kind = SEGMENT_KINDS[ref.table]
    if (!kind) throw new Trouble({ message: `The table ${ref.table} holds no segments.` })
    // Without the companion the worker's check decides, which knows everything.
    const companionRow = kind.companion && this.companion(ref, kind.companion).catch(() => null)
    const [row, companion] = await Promise.all([this.segmentRow(ref, kind), companionRow])
    return segmentFrom(ref, row, companion ?? null)
  }

  async segmentRow(ref, kind) {
    const columns = [SEGMENT_NAME_COLUMNS[ref.table], ...kind.columns]
    const read = (names) => asked(this.web.retrieveRecord(ref.table, ref.id, `?$select=${names.join()}`))
    try {
      return await read([...columns, ...MARK_COLUMNS])
    } catch (trouble) {
      // An installation may leave a segment table without the mark's columns.
      if (trouble.kind !== "other") throw trouble
      return read(columns)
    }
  }

  async companion(ref, { table, columns, filter }) {
    const query = `?$select=${columns.join()}&$filter=${filter(ref.id)}&$top=1`
    const { entities } = await asked(this.web.retrieveMultipleRecords(table, query))
    return entities[0] ?? null
  }

  /**
   * Read the audiences made from a segment, newest first
   *
   * @param {{table: string, id: string}} ref
   * @param {number} [most]
   * @returns {Promise<object[]>} see `audienceFrom`
   */
  async audiences(ref, most = HISTORY) {
    const filter = `${Audience.SEGMENT_ID} eq '${ref.id}' and ${Audience.SEGMENT_TABLE} eq '${ref.table}'`
    const query = `?$select=${AUDIENCE_COLUMNS.join()}&$filter=${filter}&$orderby=createdon desc&$top=${most}`
    const { entities } = await asked(this.web.retrieveMultipleRecords(AUDIENCE_TABLE, query))
    return entities.map(audienceFrom)
  }

  /**
   * @param {string} id
   * @returns {Promise<object>} one audience, see `audienceFrom`
   */
  async audience(id) {
    return audienceFrom(await asked(this.web.retrieveRecord(AUDIENCE_TABLE, id, `?$select=${AUDIENCE_COLUMNS.join()}`)))
  }

  /**
   * @returns {Promise<object | null>} the user's own sign-in, see `signInFrom`; null when there is none
   */
  async signIn() {
    const filter = `_ownerid_value eq ${this.userId}`
    const query = `?$select=${SIGN_IN_COLUMNS.join()}&$filter=${filter}&$orderby=createdon desc&$top=1`
    const { entities } = await asked(this.web.retrieveMultipleRecords(SIGN_IN_TABLE, query))
    return signInFrom(entities[0] ?? null)
  }

  /**
   * Ask for a check of the segment: creates the row that is the job
   *
   * @param {object} segment
   * @param {string} id - the new row's id, so that a repeated call after a lost answer creates nothing twice
   */
  async check(segment, id) {
    const row = {
      [Audience.ID]: id,
      [Audience.NAME]: segment.name,
      [Audience.SEGMENT_TABLE]: segment.table,
      [Audience.SEGMENT_ID]: segment.id,
      [Audience.SEGMENT_NAME]: segment.name,
      [Audience.ORIGIN]: Origin.PERSON,
      ...command(Audience, Command.CHECK),
    }
    await asked(this.web.createRecord(AUDIENCE_TABLE, row)).catch((trouble) => {
      if (trouble.code !== DUPLICATE) throw trouble
    })
  }

  /**
   * Ask for the audience to be created at LinkedIn
   *
   * @param {object} audience
   * @param {{name: string, account: object, smallConfirmed: boolean}} choice - what the person decided
   */
  async create(audience, { name, account, smallConfirmed }) {
    const row = {
      [Audience.NAME]: name,
      [Audience.AD_ACCOUNT]: account.urn,
      [Audience.AD_ACCOUNT_NAME]: account.name,
      [Audience.SMALL_CONFIRMED]: smallConfirmed,
      ...command(Audience, Command.CREATE),
    }
    await asked(this.web.updateRecord(AUDIENCE_TABLE, audience.id, row))
  }

  /** @param {object} audience - whose work is to stop */
  async cancel(audience) {
    await asked(this.web.updateRecord(AUDIENCE_TABLE, audience.id, command(Audience, Command.CANCEL)))
  }

  /** @param {object} audience - whose work is to go on after a failure */
  async retry(audience) {
    await asked(this.web.updateRecord(AUDIENCE_TABLE, audience.id, command(Audience, Command.RETRY)))
  }

  /**
   * Ask something of the user's own sign-in; creates its row when there is none
   *
   * @param {object | null} signIn - the row as it is known
   * @param {"CONNECT" | "DISCONNECT" | "REFRESH_ACCOUNTS"} wish
   */
  async askSignIn(signIn, wish) {
    const row = command(SignIn, SignInCommand[wish])
    if (signIn) await asked(this.web.updateRecord(SIGN_IN_TABLE, signIn.id, row))
    else await asked(this.web.createRecord(SIGN_IN_TABLE, { [SignIn.NAME]: this.userName, ...row }))
  }

  /**
   * Set or take away the mark that an audience is created when the segment goes live
   *
   * @param {{table: string, id: string}} ref
   * @param {boolean} on
   * @param {object | null} account - the ad account to use; needed when `on`
   */
  async markForGoingLive(ref, on, account) {
    const row = { [Result.CREATE_WHEN_LIVE]: on }
    if (account) {
      row[Result.LIVE_AD_ACCOUNT] = account.urn
      row[Result.LIVE_AD_ACCOUNT_NAME] = account.name
      row[`${LIVE_SET_BY_NAVIGATION}@odata.bind`] = `/systemusers(${this.userId})`
    }
    await asked(this.web.updateRecord(ref.table, ref.id, row))
  }

  /**
   * @param {object} audience
   * @returns {boolean} whether this user asked for it: who did, goes on with it
   */
  isMine(audience) {
    return plainId(audience.owner) === this.userId
  }

  /**
   * @param {object} audience
   * @returns {string} where the list of members left out is downloaded
   */
  leftOutAddress(audience) {
    return `${this.clientUrl}/api/data/v9.2/${AUDIENCE_SET}(${audience.id})/${Audience.LEFT_OUT}/$value`
  }
}

function command(columns, wish) {
  return { [columns.COMMAND]: wish, [columns.COMMAND_ID]: crypto.randomUUID() }
}

async function asked(promise) {
  try {
    return await promise
  } catch (error) {
    throw new Trouble(error)
  }
}

function plainId(id) {
  return (id ?? "").replace(/[{}]/g, "").toLowerCase()
}

function codeOf(error) {
  const code = Number(error?.errorCode ?? error?.code ?? 0)
  return Number.isFinite(code) ? code >>> 0 : 0
}

function kindOf(code, error) {
  if (PRIVILEGE.has(code)) return "privilege"
  if (MISSING.has(code)) return "missing"
  const silent = error instanceof TypeError || /network|failed to fetch|offline/i.test(error?.message ?? "")
  return silent && !code ? "unreachable" : "other"
}
