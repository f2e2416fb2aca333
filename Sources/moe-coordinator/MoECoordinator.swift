import ArgumentParser
import CoordinatorService
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
        version: CoordinatorVersion.number,
        subcommands: [Serve.self, Restore.self])
}
