import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

extension PlacementCommands {
    struct Freeze: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "freeze",
            abstract: "Let the planner propose no plans for a run.",
            discussion: """
                A plan that was proposed and that the ranks have not accepted is taken back. Operators' own plans \
                (placement apply, placement rollback) stay possible.
                """)

        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            try await PlacementCommands.control(change, coordinator, output, otherwise: "frozen by an operator") {
                $0.freeze = true
            }
        }
    }

    struct Unfreeze: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "unfreeze", abstract: "Let the planner propose plans for a run again.")

        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            try await PlacementCommands.control(change, coordinator, output, otherwise: "unfrozen by an operator") {
                $0.freeze = false
            }
        }
    }

    struct Pin: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "pin",
            abstract: "Let the planner leave experts where they are.",
            discussion: "Operators' own plans (placement apply, placement rollback) may move them all the same.")

        @OptionGroup var selection: SelectionArguments
        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            try await PlacementCommands.control(change, coordinator, output, otherwise: "pinned by an operator") {
                $0.pin = selection.chosen
            }
        }
    }

    struct Unpin: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "unpin", abstract: "Let the planner move experts again that were pinned.")

        @OptionGroup var selection: SelectionArguments
        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            try await PlacementCommands.control(change, coordinator, output, otherwise: "unpinned by an operator") {
                $0.unpin = selection.chosen
            }
        }
    }

    struct SelectionArguments: ParsableArguments {
        @Argument(
            help: ArgumentHelp(
                "Layer and expert, from 0. Either may be a list with ranges, as in 0-3:1,5.", valueName: "layer:expert")
        )
        var experts: [ExpertSelection]

        /// Each once.
        var chosen: [ExpertID] { Set(experts.flatMap(\.experts)).sorted() }

        func validate() throws {
            let limit = Limits.standard.experts
            if experts.reduce(0, { $0 + $1.experts.count }) > limit {
                throw ValidationError("more than \(limit) experts are named; name fewer at once")
            }
        }
    }

    /// Asks for a change of what the planner may do, and shows what it may do then.
    fileprivate static func control(
        _ change: ChangeOptions, _ coordinator: CoordinatorOptions, _ output: ListingOptions, otherwise why: String,
        _ fill: (inout ControlPlanning) -> Void
    ) async throws {
        var request = ControlPlanning(dryRun: change.dryRun, who: change.who, why: change.why(otherwise: why))
        fill(&request)
        let filled = request
        let reply = try await coordinator.ask { client in
            var request = filled
            let name = try await client.chooseRun(change.run)
            request.run = name
            let named = request
            return try await client.listingRunsIfUnknown { try await client.send(named) }
        }
        try output.write(reply) { [PlanningReport.table(reply, isDryRun: change.dryRun)] }
    }
}
