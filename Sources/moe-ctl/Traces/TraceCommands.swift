import ArgumentParser

struct TraceCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Make traces: the loads of experts over a training run, for moe-ctl simulate.",
        subcommands: [Record.self, Import.self, Generate.self])
}
