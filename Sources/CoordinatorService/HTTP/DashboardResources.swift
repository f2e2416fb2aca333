/// The files in `Dashboard`. A file that is not listed is not served.
enum DashboardResources {
    static var all: [(name: String, bytes: [UInt8])] {
        [
            ("index.html", PackageResources.index_html),
            ("api.js", PackageResources.api_js),
            ("app.js", PackageResources.app_js),
            ("charts.js", PackageResources.charts_js),
            ("colours.js", PackageResources.colours_js),
            ("dashboard.css", PackageResources.dashboard_css),
            ("dom.js", PackageResources.dom_js),
            ("feed.js", PackageResources.feed_js),
            ("format.js", PackageResources.format_js),
            ("glance.js", PackageResources.glance_js),
            ("icon.svg", PackageResources.icon_svg),
            ("lists.js", PackageResources.lists_js),
            ("loads.js", PackageResources.loads_js),
            ("map.js", PackageResources.map_js),
            ("phases.js", PackageResources.phases_js),
            ("placement.js", PackageResources.placement_js),
            ("training.js", PackageResources.training_js),
        ]
    }
}
