import ArgumentParser

struct PlacementCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "placement",
        abstract: "Look at which ranks hold which experts, and change it.",
        subcommands: [
            Show.self, History.self, Diff.self, Plan.self, Apply.self, Rollback.self, Pin.self, Unpin.self,
            Freeze.self, Unfreeze.self,
        ])
}
