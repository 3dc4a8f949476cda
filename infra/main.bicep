// Everything that LinkedIn Matched Audiences needs in Azure, in one resource group.
// `azd up` runs this; docs/setup.md walks through it. Each file under app/ makes one thing and says who may use it.

targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('Name of the azd environment; names and tags of all resources are made from it.')
param environmentName string

@minLength(1)
@description('Azure region. Choose one near the Dataverse environment that offers Flex Consumption.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Object id of whoever deploys; it may write secrets into the vault. Empty: nobody but the app gets access.')
param principalId string = ''

@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
@description('What kind of principal deploys.')
param principalType string = 'User'

@minLength(1)
@description('Address of the Dataverse environment, such as https://yourorg.crm4.dynamics.com.')
param dataverseUrl string

@allowed([
  'managed-identity'
  'secret'
])
@description('How the app signs in to Dataverse. With managed-identity there is no secret; secret is for a Dataverse environment in another tenant.')
param dataverseAuth string = 'managed-identity'

@description('Entra tenant of the Dataverse environment. Empty: the tenant of this subscription.')
param dataverseTenantId string = ''

@description('Client id of the app registration; only for dataverseAuth=secret.')
param dataverseClientId string = ''

@description('Organisation id of the Dataverse environment. When set, events of a copied environment are passed over.')
param dataverseOrganizationId string = ''

@minLength(1)
@description('Client id of the LinkedIn developer app.')
param linkedInClientId string

@description('Version of the LinkedIn Marketing API, YYYYMM.')
param linkedInVersion string = '202608'

@description('Address of the app if it has a domain of its own, beginning with https://. Empty: the address that Azure gives it.')
param publicUrl string = ''

@description('Who receives alerts by email. Empty: alerts show in the portal only.')
param alertEmail string = ''

@minValue(1)
@maxValue(365)
@description('Days after which hashes and ids of members are deleted.')
param retentionDays int = 7

@minValue(30)
@maxValue(730)
@description('Days for which logs are kept.')
param logDays int = 30

@minValue(1)
@description('Gigabytes of logs a day after which no more are taken, so that a mistake cannot become expensive.')
param dailyLogGb int = 1

@description('When overdue jobs are woken: seconds, minutes, hours, day, month, day of the week.')
param upkeepSchedule string = '0 */5 * * * *'

@description('When old data is deleted and sign-ins that end soon are announced.')
param tidySchedule string = '0 17 3 * * *'

@allowed([
  512
  2048
  4096
])
@description('Memory of an instance in megabytes.')
param instanceMemoryMB int = 2048

@minValue(40)
@maxValue(1000)
@description('Most instances at once. 40 is the least that Flex Consumption takes.')
param maximumInstanceCount int = 40

@minValue(0)
@maxValue(10)
@description('Instances that are always ready for HTTP. 0 costs nothing; 1 takes away the first second of a sign-in.')
param alwaysReadyInstances int = 0

@description('Whether a vault of the same name that was deleted is to be brought back.')
param recoverVault bool = false

@description('Further settings of the app, name and text, as docs/settings.md explains them.')
param settings object = {}

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = {
  'azd-env-name': environmentName
}

resource group 'Microsoft.Resources/resourceGroups@2021-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'app/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-${token}'
    insightsName: 'appi-${token}'
    location: location
    tags: tags
    logDays: logDays
    dailyLogGb: dailyLogGb
    identityPrincipalId: identity.outputs.principalId
  }
}

module storage 'app/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    retentionDays: retentionDays
    identityPrincipalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'app/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    identityPrincipalId: identity.outputs.principalId
    principalId: principalId
    principalType: principalType
    recover: recoverVault
    workspaceId: monitoring.outputs.workspaceId
  }
}

module app 'app/function.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: 'func-${token}'
    planName: 'plan-${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    packageContainer: storage.outputs.packageContainer
    vaultName: vault.outputs.name
    insightsName: monitoring.outputs.insightsName
    workspaceId: monitoring.outputs.workspaceId
    dataverseUrl: dataverseUrl
    dataverseAuth: dataverseAuth
    dataverseTenantId: empty(dataverseTenantId) ? tenant().tenantId : dataverseTenantId
    dataverseClientId: dataverseClientId
    dataverseOrganizationId: dataverseOrganizationId
    linkedInClientId: linkedInClientId
    linkedInVersion: linkedInVersion
    publicUrl: publicUrl
    retentionDays: retentionDays
    upkeepSchedule: upkeepSchedule
    tidySchedule: tidySchedule
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    settings: settings
  }
}

module alerts 'app/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    email: alertEmail
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output LIMA_APP_NAME string = app.outputs.name
output LIMA_APP_ID string = app.outputs.id
output LIMA_APP_URL string = app.outputs.url
output LIMA_REDIRECT_URL string = '${app.outputs.url}/api/linkedin/callback'
output LIMA_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output LIMA_KEY_VAULT string = vault.outputs.name
output LIMA_DATAVERSE_URL string = dataverseUrl
output LIMA_DATAVERSE_AUTH string = dataverseAuth
