import Foundation

/// Ranks that no launcher starts, a coordinator, and Open MPI's `ompi-server`.
final class ApartRanks {
    static let run = "apart"

    let inputs: WorkerInputs
    let coordinator: RunningProgram
    let address: String
    private let server: RunningProgram
    private(set) var ranks: [RunningProgram] = []

    /// - Parameter serve: arguments of the coordinator.
    init(serve: [String] = ["--listen", "127.0.0.1:0"]) throws {
        inputs = try WorkerInputs()
        let coordinator = try RunningProgram(
            "moe-coordinator", ["serve", "--database", inputs.path("moe.db"), "--http", "none"] + serve)
        guard let address = coordinator.readLine(after: "moe-coordinator: listening on ") else {
            throw WorkerInputsError(output: coordinator.text)
        }
        self.coordinator = coordinator
        self.address = address
        let contact = inputs.path("ompi-server")
        server = try RunningProgram(command: ["ompi-server", "--no-daemonize", "-r", contact])
        let deadline = ContinuousClock.now + .seconds(30)
        while (try? String(contentsOfFile: contact, encoding: .utf8).hasSuffix("\n")) != true {
            guard ContinuousClock.now < deadline else { throw WorkerInputsError(output: "no ompi-server") }
            usleep(10_000)
        }
    }

    deinit {
        for program in ranks {
            program.send(SIGKILL)
            _ = program.waitForEnd()
        }
        for program in [coordinator, server] {
            program.terminate()
            _ = program.waitForEnd()
        }
    }

    var variables: [String: String] { ["OMPI_MCA_pmix_server_uri": "file:\(inputs.path("ompi-server"))"] }

    /// Starts a rank.
    /// - Parameter changes: to the arguments of a short run.
    @discardableResult
    func start(
        _ rank: Int, of worldSize: Int, _ changes: [String: String?] = [:], launcher: [String] = [],
        variables: [String: String]? = nil
    ) throws -> RunningProgram {
        let own: [String: String?] = [
            "--rank": "\(rank)", "--world-size": "\(worldSize)", "--coordinator": address, "--run": Self.run,
            "--rendezvous-timeout": "60", "--metrics": inputs.path("metrics-\(worldSize).jsonl"),
        ]
        let program = try RunningProgram(
            "moe-worker", inputs.arguments(own.merging(changes) { $1 }), launcher: launcher,
            variables: variables ?? self.variables)
        ranks.append(program)
        return program
    }

    /// Starts all ranks, of a run that does not end by itself, and waits until they train.
    func train(_ worldSize: Int, _ changes: [String: String?] = [:]) throws -> [RunningProgram] {
        let endless: [String: String?] = ["--steps": "100000000", "--log-interval": "20"]
        let programs = try (0..<worldSize).map { rank in
            try start(rank, of: worldSize, endless.merging(changes) { $1 })
        }
        guard programs[0].readLine(containing: " 20/100000000  loss") != nil else {
            throw WorkerInputsError(output: programs[0].text)
        }
        return programs
    }

    /// The losses that rank 0 wrote.
    func losses(_ worldSize: Int) -> [Double] { inputs.losses("metrics-\(worldSize).jsonl").map(\.loss) }
}
