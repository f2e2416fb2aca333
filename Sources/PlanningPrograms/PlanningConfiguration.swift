import ControlProtocol
import ExpertPlacement

/// What the coordinator's configuration file says of planning: `allocators`, and `planning`.
public struct PlanningConfiguration: Hashable, Sendable {
    /// Programs by the alias under which runs choose them, as `exec:ALIAS`.
    public var programs: [String: ProgramConfiguration]
    public var options: Options

    public struct Options: Hashable, Sendable, Codable {
        /// Whether this coordinator proposes plans at all; true unless said otherwise.
        public var enabled: Bool?
        /// Steps between two looks at a run's plan; the run's report interval unless said otherwise.
        public var intervalSteps: Int?

        public init(enabled: Bool? = nil, intervalSteps: Int? = nil) {
            self.enabled = enabled
            self.intervalSteps = intervalSteps
        }

        enum CodingKeys: String, CodingKey, CaseIterable {
            case enabled
            case intervalSteps = "interval_steps"
        }
    }

    public init(programs: [String: ProgramConfiguration] = [:], options: Options = Options()) {
        self.programs = programs
        self.options = options
    }

    /// The allocator that a run chose.
    /// - Parameter memoryLimits: those of the run's ranks, which a program's answers have to keep; nil: there are none.
    /// - Throws: `PlacementError` naming the known ones.
    package func allocator(
        named name: String, limits: Limits, memoryLimits: [Int]?, cancellation: PlanningCancellation
    ) throws(PlacementError) -> any ExpertsAllocator {
        guard name.hasPrefix(Allocators.programPrefix) else {
            return try Allocators.make(named: name) { cancellation.isCancelled }
        }
        let alias = String(name.dropFirst(Allocators.programPrefix.count))
        guard let program = programs[alias] else {
            throw .unknownProgram(name, known: programs.keys.map { Allocators.programPrefix + $0 })
        }
        return ExecAllocator(
            alias: alias, program: program, limits: limits, memoryLimits: memoryLimits, cancellation: cancellation)
    }
}

/// A program that places experts.
public struct ProgramConfiguration: Hashable, Sendable, Codable {
    /// The program and its arguments.
    public var command: [String]
    /// Seconds after which it is ended; 30 unless said otherwise.
    public var timeLimitSeconds: Double?
    /// Whether its plans have to be worth their cost, as those of other allocators; true unless said otherwise.
    public var hysteresis: Bool?

    public init(command: [String], timeLimitSeconds: Double? = nil, hysteresis: Bool? = nil) {
        self.command = command
        self.timeLimitSeconds = timeLimitSeconds
        self.hysteresis = hysteresis
    }

    static let timeLimits = 0.001...86_400.0

    func program(outputLimit: Int) -> ExternalProgram {
        ExternalProgram(
            command: command, timeLimit: .seconds(timeLimitSeconds ?? 30), outputLimit: outputLimit)
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case command, hysteresis
        case timeLimitSeconds = "time_limit_seconds"
    }
}
