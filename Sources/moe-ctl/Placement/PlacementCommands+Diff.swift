import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

extension PlacementCommands {
    struct Diff: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "diff",
            abstract: "Show what changes from one placement plan to another.",
            discussion: """
                A plan is a revision of the run, or a file with a plan. With one, it is compared with the active \
                plan; with none, the active plan with the one that was active before. GETS and LOSES name ranks and the \
                neurons that they compute with then and not before, or no longer. BYTES is what moves over the network, \
                weights and optimizer state.
                """)

        @Argument(help: ArgumentHelp("Revision or file of the earlier plan.", valueName: "from"))
        var from: String?
        @Argument(help: ArgumentHelp("Revision or file of the later plan.", valueName: "to"))
        var to: String?
        @Option(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @OptionGroup var files: FileOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        /// What a run tells and files do not.
        struct FileOptions: ParsableArguments {
            @Option(
                help: ArgumentHelp(
                    "Hidden size of the model (D), for two files.", valueName: "d"))
            var hiddenSize: Int?
            @Option(help: "Which ranks hold optimizer state (default: colocated), for two files.")
            var optimizerPlacement: OwnershipPolicy?
        }

        private enum Side {
            case revision(Int)
            case file(String)
            case active, activeBefore

            init(_ text: String?, otherwise side: Side) {
                guard let text else {
                    self = side
                    return
                }
                self = Int(text).map { .revision($0) } ?? .file(text)
            }
        }

        /// The files, when no coordinator is needed.
        private var twoFiles: (from: String, to: String)? {
            guard case .file(let from) = sides.from, case .file(let to) = sides.to else { return nil }
            return (from, to)
        }

        private var sides: (from: Side, to: Side) {
            (Side(from, otherwise: .activeBefore), Side(to, otherwise: .active))
        }

        func validate() throws {
            for text in [from, to] {
                if let revision = text.flatMap({ Int($0) }), revision < 1 {
                    throw ValidationError("revisions count from 1, but \(revision) is given")
                }
            }
            if twoFiles != nil {
                guard let size = files.hiddenSize else {
                    throw ValidationError("two files do not tell the size of the model: give --hidden-size")
                }
                guard (1...Limits.standard.width).contains(size) else {
                    throw ValidationError("--hidden-size must be from 1 to \(Limits.standard.width), but is \(size)")
                }
                if run != nil { throw ValidationError("two files are of no run: leave --run away") }
            } else if files.hiddenSize != nil || files.optimizerPlacement != nil {
                throw ValidationError("the run tells its hidden size and optimizer placement: leave those options away")
            }
        }

        func run() async throws {
            let diff: PlacementDiff
            if let (from, to) = twoFiles, let hiddenSize = files.hiddenSize {
                diff = try PlacementDiff(
                    from: PlanFile.read(from), PlanSource(file: from), to: PlanFile.read(to), PlanSource(file: to),
                    hiddenSize: hiddenSize, ownership: files.optimizerPlacement ?? .defaultPolicy)
            } else {
                diff = try await coordinator.ask { client in
                    let name = try await client.chooseRun(run)
                    return try await client.listingRunsIfUnknown {
                        let shown = try await client.send(ShowRun(run: name))
                        let (from, to) = (
                            try await plan(sides.from, of: name, client), try await plan(sides.to, of: name, client)
                        )
                        return try PlacementDiff(
                            from: from.plan, from.source, to: to.plan, to.source,
                            hiddenSize: shown.model.hiddenSize, ownership: shown.ownership ?? .defaultPolicy)
                    }
                }
            }
            try output.write(diff) { diff.tables }
        }

        private func plan(
            _ side: Side, of run: String, _ client: ControlClient
        ) async throws -> (plan: PlacementPlan, source: PlanSource) {
            let revision: Int?
            switch side {
            case .file(let file): return (try PlanFile.read(file), PlanSource(file: file))
            case .revision(let number): revision = number
            case .active: revision = nil
            case .activeBefore: revision = try await client.revisionActiveBefore(run: run)
            }
            let plan = try await client.send(ShowPlacement(run: run, revision: revision)).plan
            return (plan, PlanSource(revision: plan.revision))
        }
    }
}

extension ControlClient {
    /// The revision that was active before the active one.
    func revisionActiveBefore(run: String) async throws -> Int {
        let plans = try await send(ListPlans(run: run)).plans
        guard let revision = plans.filter({ $0.state == .superseded }).map(\.revision).max() else {
            throw CommandFailure("run \(run) has had one active plan only, so there is none before it")
        }
        return revision
    }
}

extension OwnershipPolicy: ExpressibleByArgument {}
