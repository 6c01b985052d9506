# The local cloud on this computer: started by `make local-up`, used by `make demo` and the tests.

environment         = "local"
aws_region          = "us-east-1"
allowed_account_ids = ["000000000000"]

# Everything is deleted with the local cloud.
protect_data = false

# A laptop can start only a few workers at once.
process_image     = { reserved_concurrency = 4 }
send_notification = { reserved_concurrency = 4 }

# Functions run on this computer's Python, with the decoders installed here.
convert = { bundle_wheels = false, reserved_concurrency = 2 }

# The stand-in for Rekognition rates its faces lower than Rekognition does.
face_min_confidence = 50

# Only samples are uploaded here, so the logs may name them.
log_level       = "DEBUG"
log_object_keys = true
