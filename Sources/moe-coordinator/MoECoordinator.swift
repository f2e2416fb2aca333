import ArgumentParser
import BuildInformation
import Settings

@main
struct Program {
    static func main() async {
        await Settings.main(MoECoordinator.self)
    }
}

struct MoECoordinator: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "moe-coordinator",
        abstract: "Owns the expert placement plans of training runs.",
        version: BuildInformation.version,
        subcommands: [Serve.self, Restore.self])
}
