// The function app on Flex Consumption, and every setting it gets. Secrets are references to the vault.

@description('Name of the function app.')
param name string

@description('Name of its plan.')
param planName string

@description('Azure region.')
param location string

@description('Tags of plan and app.')
param tags object

@description('Resource id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Name of the storage account.')
param storageName string

@description('Container into which the app\'s package is deployed.')
param packageContainer string

@description('Name of the vault.')
param vaultName string

@description('Name of the Application Insights resource.')
param insightsName string

@description('Where the app\'s metrics go.')
param workspaceId string

@description('Address of the Dataverse environment.')
param dataverseUrl string

@description('How the app signs in to Dataverse.')
param dataverseAuth string

@description('Entra tenant of the Dataverse environment.')
param dataverseTenantId string

@description('Client id of the app registration, for dataverseAuth=secret.')
param dataverseClientId string

@description('Organisation id of the Dataverse environment, or empty.')
param dataverseOrganizationId string

@description('Client id of the LinkedIn developer app.')
param linkedInClientId string

@description('Version of the LinkedIn Marketing API.')
param linkedInVersion string

@description('Address of the app if it has a domain of its own, or empty.')
param publicUrl string

@description('Days after which hashes and ids of members are deleted.')
param retentionDays int

@description('When overdue jobs are woken.')
param upkeepSchedule string

@description('When old data is deleted.')
param tidySchedule string

@description('Memory of an instance in megabytes.')
param instanceMemoryMB int

@description('Most instances at once.')
param maximumInstanceCount int

@description('Instances that are always ready for HTTP.')
param alwaysReadyInstances int

@description('Further settings of the app.')
param settings object

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'app'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    siteConfig: {
      ftpsState: 'Disabled'
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${account.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReadyInstances == 0 ? [] : [
          {
            name: 'http'
            instanceCount: alwaysReadyInstances
          }
        ]
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
    }
  }
}

// Signing in with a password is off; deployments use Entra.
resource noPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = [for way in ['ftp', 'scm']: {
  parent: app
  name: way
  properties: {
    allow: false
  }
}]

var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: account.properties.primaryEndpoints.blob
  AzureWebJobsStorage__queueServiceUri: account.properties.primaryEndpoints.queue
  AzureWebJobsStorage__tableServiceUri: account.properties.primaryEndpoints.table
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
}

var productSettings = {
  UPKEEP_SCHEDULE: upkeepSchedule
  TIDY_SCHEDULE: tidySchedule
  DATAVERSE_URL: dataverseUrl
  DATAVERSE_TENANT_ID: dataverseTenantId
  DATAVERSE_AUTH: dataverseAuth
  DATAVERSE_CLIENT_ID: dataverseAuth == 'managed-identity' ? identityClientId : dataverseClientId
  DATAVERSE_ORGANIZATION_ID: dataverseOrganizationId
  WEBHOOK_SECRET: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=webhook-secret)'
  WEBHOOK_SECRET_PREVIOUS: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=webhook-secret-previous)'
  LINKEDIN_CLIENT_ID: linkedInClientId
  LINKEDIN_CLIENT_SECRET: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=linkedin-client-secret)'
  LINKEDIN_VERSION: linkedInVersion
  SIGNIN_KEYS: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=signin-keys)'
  PUBLIC_URL: empty(publicUrl) ? 'https://${app.properties.defaultHostName}' : publicUrl
  RETENTION_DAYS: string(retentionDays)
}

// A reference to a secret that does not exist would keep the app from starting, so this one comes only when asked for.
var dataverseSecret = dataverseAuth == 'secret' ? {
  DATAVERSE_CLIENT_SECRET: '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=dataverse-client-secret)'
} : {}

resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union(hostSettings, productSettings, dataverseSecret, settings)
}

// Logs reach the workspace through Application Insights; FunctionAppLogs would be the same lines again.
resource metrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'metrics'
  scope: app
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output name string = app.name
output id string = app.id
output url string = empty(publicUrl) ? 'https://${app.properties.defaultHostName}' : publicUrl
