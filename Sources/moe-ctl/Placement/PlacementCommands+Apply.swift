import ArgumentParser
import ControlProtocol
import ExpertPlacement
import Listings

extension PlacementCommands {
    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "apply",
            abstract: "Propose a placement plan of your own for a run.",
            discussion: """
                The ranks accept the plan between two steps and re-shard layer by layer, or refuse it with a reason; \
                placement history tells. With --dry-run nothing is proposed: the prediction is shown.
                """)

        @Argument(
            help: ArgumentHelp(
                "File with the plan as JSON, or YAML by its name; - is standard input.", valueName: "file"),
            completion: .file())
        var file: String
        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func run() async throws {
            let plan = try PlanFile.read(file)
            let request = ProposePlacement(
                plan: plan, dryRun: change.dryRun, who: change.who,
                why: change.why(otherwise: "an operator's plan from \(InputFile.name(file))"))
            let reply = try await coordinator.ask { client in
                var request = request
                let name = try await client.chooseRun(change.run)
                request.run = name
                return try await client.listingRunsIfUnknown { [request] in
                    do {
                        return try await client.propose(request)
                    } catch let error as ControlError where error.code == .unsuitablePlan {
                        let model = try await client.send(ShowRun(run: name)).model
                        guard let remedy = Self.remedy(for: plan, model) else { throw error }
                        throw CommandFailure(code: CommandFailure.refused, "\(error.message)\n\(remedy)")
                    }
                }
            }
            try output.write(reply) { [ProposalReport.table(reply, isDryRun: change.dryRun)] }
        }

        /// How a plan is made for experts as wide as `model`'s; nil: that is not what is wrong with `plan`.
        private static func remedy(for plan: PlacementPlan, _ model: ExpertModel) -> String? {
            let planned = plan.layers.map { $0.experts.map(\.width) }
            guard planned != model.layers, planned.map(\.count) == model.layers.map(\.count) else { return nil }
            let widths = Set(model.layers.joined())
            let option = widths.count == 1 ? widths.first.map { "--width \($0)" } : nil
            return "For this run make it with placement plan --loads, --hidden-size \(model.hiddenSize) and "
                + (option ?? "--current, with what placement show -o json prints") + "."
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rollback",
            abstract: "Propose an earlier placement plan again, under a new revision.",
            discussion: "With --dry-run nothing is proposed: the prediction is shown.")

        @Argument(help: "Revision of the plan (default: the one that was active before the active one).")
        var revision: Int?
        @OptionGroup var change: ChangeOptions
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions

        func validate() throws {
            if let revision, revision < 1 { throw ValidationError("revisions count from 1, but \(revision) is given") }
        }

        func run() async throws {
            let reply = try await coordinator.ask { client in
                let name = try await client.chooseRun(change.run)
                return try await client.listingRunsIfUnknown {
                    var target = revision
                    if target == nil { target = try await client.revisionActiveBefore(run: name) }
                    return try await client.propose(
                        ProposePlacement(
                            run: name, rollbackTo: target, dryRun: change.dryRun, who: change.who,
                            why: change.why(otherwise: "an operator wants it back")))
                }
            }
            try output.write(reply) { [ProposalReport.table(reply, isDryRun: change.dryRun)] }
        }
    }
}

extension ControlClient {
    /// Sends `proposal`. The planner may take its time, since a run's policy may be a program. When no answer comes, the plan
    /// may be on its way all the same.
    func propose(_ proposal: ProposePlacement) async throws -> PlacementProposed {
        do throws(ControlError) {
            return try await send(proposal, timeout: proposal.replan ? nil : .seconds(10))
        } catch {
            guard error.isUnreachable, !proposal.dryRun else { throw error }
            throw CommandFailure(
                code: CommandFailure.coordinatorUnreachable,
                "\(error.message)\nWhether a plan was proposed is not known: see moe-ctl placement history before you try "
                    + "again.")
        }
    }
}
