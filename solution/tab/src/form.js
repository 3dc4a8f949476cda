/**
 * What the segment form loads (`lima_/form.js`): it hands the client API to the tab's page, and offers the
 * same page in a side pane for forms that have no tab.
 */

const CONTROL = "WebResource_lima"
const PAGE = "lima_/tab.html"
const LOOK_EVERY = 100
const LOOKS = 600

/**
 * OnLoad handler of the segment form: give the page its client API, now and whenever a tab is opened.
 *
 * The page's script may not be loaded yet, and a page in a closed tab has no window at all, so both are tried
 * again. Handing over twice is harmless.
 *
 * @param {object} executionContext - what Dynamics passes to form handlers
 */
export function onLoad(executionContext) {
  const formContext = executionContext.getFormContext()
  handOver(formContext)
  formContext.ui?.tabs?.forEach?.((tab) => tab.addTabStateChange?.(() => handOver(formContext)))
}

/**
 * Command-bar button: show the page beside a form, for the record that is open in it.
 *
 * @param {object} formContext - PrimaryControl of the command
 */
export async function openPane(formContext) {
  const panes = globalThis.Xrm.App.sidePanes
  const pane =
    panes.getPane(CONTROL) ??
    (await panes.createPane({
      title: "LinkedIn Matched Audience",
      paneId: CONTROL,
      canClose: true,
      width: 480,
    }))
  const { entity } = formContext.data
  const data = new URLSearchParams({ typename: entity.getEntityName(), id: entity.getId() })
  await pane.navigate({ pageType: "webresource", webresourceName: PAGE, data: data.toString() })
}

async function handOver(formContext) {
  const control = formContext.getControl(CONTROL)
  if (!control) return
  giveTo(await control.getContentWindow(), formContext, LOOKS)
}

function giveTo(page, formContext, looks) {
  if (typeof page?.setClientApiContext === "function") page.setClientApiContext(globalThis.Xrm, formContext)
  else if (looks > 0) setTimeout(() => giveTo(page, formContext, looks - 1), LOOK_EVERY)
}

globalThis.lima = { ...globalThis.lima, form: { onLoad, openPane } }
