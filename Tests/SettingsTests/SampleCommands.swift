import ArgumentParser
import Settings

/// A program with a default subcommand and one more.
struct Program: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "program", version: "1.0", subcommands: [Train.self, Serve.self, Repeat.self, Sample.self],
        defaultSubcommand: Train.self)
}

struct Train: ParsableCommand {
    enum Order: String, ExpressibleByArgument, CaseIterable { case sequential, random }

    @Option(help: "Total number of training steps, an integer.") var steps: Int
    @Option(help: "Learning rate, a number.") var learningRate = 0.001
    @Option var dataOrder = Order.random
    @Option(name: [.short, .long]) var run: String?
    @Option var host: [String] = []
    @Flag var verbose = false
    @Flag(inversion: .prefixedNo) var shuffle = true
    @Option var config: String?

    func validate() throws {
        if learningRate < 0 { throw ValidationError("'--learning-rate' must not be negative") }
    }
}

struct Serve: ParsableCommand {
    @Option var listen = "127.0.0.1:7700"
}

/// One that can take a file, which has another command's options as well.
struct Sample: ParsableCommand {
    @Option var run: String?
    @Option var length = 1
    @Option var config: String?
}

/// One whose `--run` is no run's name.
struct Repeat: ParsableCommand, OwnOptions {
    static let ownOptions = ["run"]

    @Option var run = 1
    @Option var host: String?
}
