// What somebody has to hear about. Each rule runs a query over the app's log; docs/monitoring.md explains them.

@description('Azure region.')
param location string

@description('Tags of all rules.')
param tags object

@description('The workspace that holds the log.')
param workspaceId string

@description('Who receives alerts. Empty: they show in the portal only.')
param email string

var rules = [
  {
    name: 'lima-poisoned-messages'
    title: 'LinkedIn audiences: a message could not be handled'
    about: 'A job was ended because its messages failed five times. docs/operations.md, message-poisoned.'
    query: loadTextContent('../queries/poisoned.kql')
    severity: 1
    frequency: 'PT5M'
    window: 'PT5M'
  }
  {
    name: 'lima-failed-jobs'
    title: 'LinkedIn audiences: a job has failed'
    about: 'A job ended as Failed. The row tells its owner why; docs/operations.md tells you.'
    query: loadTextContent('../queries/failed.kql')
    severity: 2
    frequency: 'PT15M'
    window: 'PT15M'
  }
  {
    name: 'lima-linkedin-version'
    title: 'LinkedIn audiences: the API version has been switched off'
    about: 'LinkedIn answers 426. Raise LINKEDIN_VERSION: docs/upgrade.md.'
    query: loadTextContent('../queries/version.kql')
    severity: 1
    frequency: 'PT15M'
    window: 'PT15M'
  }
  {
    name: 'lima-not-ready'
    title: 'LinkedIn audiences: the app cannot be used'
    about: 'A setting or a permission is missing or wrong, so events are refused. The log line names it.'
    query: loadTextContent('../queries/not-ready.kql')
    severity: 1
    frequency: 'PT5M'
    window: 'PT5M'
  }
  {
    name: 'lima-sign-ins'
    title: 'LinkedIn audiences: a sign-in ends soon'
    about: 'Somebody\'s LinkedIn sign-in ends within ten days. The tab tells the person; automatic runs stop when it ends.'
    query: loadTextContent('../queries/sign-ins.kql')
    severity: 3
    frequency: 'P1D'
    window: 'P1D'
  }
]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'lima-administrators'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'lima'
    enabled: true
    emailReceivers: [
      {
        name: 'administrators'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

// The query is not checked at creation, because a new workspace has no table AppTraces before the first log line.
resource alert 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [for rule in rules: {
  name: rule.name
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: rule.title
    description: rule.about
    severity: rule.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.frequency
    windowSize: rule.window
    autoMitigate: false
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(email) ? [] : [
        group.id
      ]
    }
  }
}]
